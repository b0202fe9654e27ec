// The dashboard's own Redis as a process: whose it is, and whether it lives.
import Foundation
import Glibc
import Logging
import Testing

@testable import Dashboard

@Suite struct EmbeddedRedisTests {
  private func withServer(_ body: (String, EmbeddedRedis) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("muster-embedded-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let server = try await EmbeddedRedis(folder: folder.path, health: HealthBoard(), logger: Logger(label: "test"))
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(folder.path, server)) } catch { outcome = .failure(error) }
    await server.stop()
    try FileManager.default.removeItem(at: folder)
    try outcome.get()
  }

  /// Found by review: one that was adopted was known by its pid alone, which another process may have by then.
  @Test func anAdoptedServerThatHasEndedIsStartedAgainThoughItsPidIsTaken() async throws {
    try await withServer { folder, first in
      let adopted = try await EmbeddedRedis(folder: folder, health: HealthBoard(), logger: Logger(label: "test"))
      #expect(adopted.port == first.port)
      let pid = try #require(await EmbeddedRedis.ownServer(at: first.port, folder: folder))
      let running = Task { try await adopted.run() }
      // It is the child of the first one, which does not wait for it: so its pid stays taken.
      kill(pid, SIGKILL)
      let isBack = await eventually(within: .seconds(60)) {
        await EmbeddedRedis.ownServer(at: first.port, folder: folder).map { $0 != pid } ?? false
      }
      #expect(isBack && kill(pid, 0) == 0)
      running.cancel()
      try await running.value
      await adopted.stop()
      #expect(await EmbeddedRedis.ownServer(at: first.port, folder: folder) == nil)
    }
  }

  @Test func onlyAServerOnThisFolderIsTakenForOurs() async throws {
    try await withServer { folder, server in
      let pid = try #require(await EmbeddedRedis.ownServer(at: server.port, folder: folder))
      #expect(EmbeddedRedis.isOurs(pid, folder))
      #expect(!EmbeddedRedis.isOurs(getpid(), folder))
      try await withServer { other, _ in #expect(!EmbeddedRedis.isOurs(pid, other)) }
    }
  }
}

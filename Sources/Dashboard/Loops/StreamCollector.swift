// Reads one stream of agents' messages: in order, one transaction for what was read, and only then acknowledged and deleted (DESIGN section 3,
// step 7). Everything is idempotent, so after a crash anywhere the next process simply reads again what was not deleted.
// A plain XREAD from the beginning serves one reader as well as a consumer group and leaves no pending list to repair
// (docs/decisions/0002).
// What if: Redis is away: reads begin again at the first undeleted entry; the store is full: the batch is kept and tried again, nothing is
// deleted, agents hold back when the stream is full; an entry cannot be read: it is logged and deleted, for it will never be readable.
import Logging
import Redis
import ServiceLifecycle
import Shared

struct StreamCollector<Message: Sendable>: Service {
  /// For logs and the connection's name.
  let name: String
  let stream: String
  /// Entries read at once.
  let batch: Int
  let flow: CollectorTools
  let decode: @Sendable ([UInt8]) throws -> Message
  /// One transaction for all of them, and what follows from it.
  let commit: @Sendable ([Message], Fence) async throws -> Void

  func run() async throws {
    await cancelWhenGracefulShutdown {
      let connection = flow.link.reader(name, of: stream)
      while !Task.isCancelled {
        guard await flow.standing.untilWriting() != nil else { break }
        do {
          try await collect(connection)
        } catch {
          if Task.isCancelled { break }
          flow.note(error, name)
          if !(await pause(.milliseconds(200))) { break }
        }
      }
      await connection.close()
    }
  }

  /// Reads and commits until something fails. Begins with the oldest entry that was not deleted.
  private func collect(_ connection: RedisClient) async throws {
    try await connection.connected(within: .seconds(3600))
    var after = "0-0"
    let epoch = connection.epoch
    while !Task.isCancelled, let fence = flow.standing.fence {
      let entries = try await flow.read(connection, stream, after: after, count: batch)
      // Another server may have forgotten the newest ids and give out smaller ones: begin again.
      guard connection.epoch == epoch else { return }
      guard let last = entries.last else { continue }
      var messages: [Message] = []
      for entry in entries {
        do { messages.append(try decode(entry.message)) } catch {
          flow.logger.error(
            "a message that nobody can read was dropped",
            metadata: ["stream": "\(stream)", "entry": "\(entry.id)", "why": "\(error)"])
        }
      }
      if !messages.isEmpty { try await commit(messages, fence) }
      flow.finished(stream, entries.map(\.id))
      after = last.id
    }
  }
}

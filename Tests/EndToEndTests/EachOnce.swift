// Tasks whose commands append their run's id to a file on the host, so that a double start is seen on disk and not inferred.
import Foundation
import Testing

/// Posts them one after the other.
func postMany(_ stand: Stand, _ uuid: String, _ count: Int, to file: URL) async throws -> [String] {
  var auuids: [String] = []
  for _ in 0..<count {
    auuids.append(try await stand.task(uuid, "echo $MUSTER_RUN >> \(file.path); sleep 0.02; echo done"))
  }
  return auuids
}

/// Waits until all have their verdicts: every one succeeded, every one started once.
func expectEachOnce(_ stand: Stand, _ auuids: [String], in file: URL, within seconds: Double = 60) async throws {
  let open: Set<String> = ["queued", "sent", "running", "unknown"]
  let runs: [[String: Any]] = try await eventually("all \(auuids.count) runs have their verdicts", within: seconds) {
    let items = try await stand.get("/v1/runs?limit=1000")["items"] as? [[String: Any]] ?? []
    return items.count == auuids.count && !items.contains { open.contains($0["state"] as? String ?? "") } ? items : nil
  }
  let states = Dictionary(grouping: runs) { $0["state"] as? String ?? "" }.mapValues(\.count)
  #expect(states == ["succeeded": auuids.count])
  let started = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
  #expect(started.count == auuids.count, "started \(started.count) times")
  #expect(Set(started) == Set(auuids))
}

/// Says how long something took, and expects it to have been no longer than the longest pause between two attempts (5 s), a look, and what a
/// slow machine adds.
func expectPrompt(
  _ what: String, since began: ContinuousClock.Instant, within limit: Duration = .seconds(30),
  _ place: SourceLocation = #_sourceLocation
) {
  let took = began.duration(to: .now)
  print("MEASURED \(what): \(took)")
  #expect(took < limit, "\(what)", sourceLocation: place)
}

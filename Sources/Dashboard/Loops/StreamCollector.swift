// Reads one stream of agents' messages: in order, one transaction for what was read, and only then acknowledged and deleted (DESIGN section 3,
// step 7). Everything is idempotent, so after a crash anywhere the next process simply reads again what was not deleted.
// A plain XREAD from the beginning serves one reader as well as a consumer group and leaves no pending list to repair
// (docs/decisions/0002).
// What if: Redis is away: reads begin again at the first undeleted entry; the store is full: the batch is kept and tried again, nothing is
// deleted, agents hold back when the stream is full; an entry cannot be read: it is logged and deleted, for it will never be readable; one
// agent's keys cannot be used (`Refusals`): its entries stay and are read again, everybody else's go on.
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
  /// Entries of agents that have to wait; more of them are deleted unread, so that they leave room for the others': an agent says again what
  /// was not acknowledged.
  let mostPutOff: Int
  let flow: CollectorTools
  let finished: FinishedEntries
  let agent: @Sendable (Message) -> AgentID
  let decode: @Sendable ([UInt8]) throws -> Message
  /// One transaction for all of them, and what follows from it. Returns the agents that have to wait: nothing of theirs is done.
  let commit: @Sendable ([Message], Fence) async throws -> Set<AgentID>

  /// Before what was put off is read again.
  private static var patience: Duration { .seconds(3) }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      let connection = flow.link.reader(name, of: stream)
      while !Task.isCancelled {
        guard await flow.standing.untilWriting() != nil else { break }
        do {
          try await collect(connection)
        } catch {
          if Task.isCancelled { break }
          if !(await pause(flow.note(error, name))) { break }
        }
      }
      await connection.close()
    }
  }

  /// Reads and commits until something fails, or something that was put off is due. Begins with the oldest entry that was not deleted.
  private func collect(_ connection: RedisClient) async throws {
    try await connection.connected(within: .seconds(3600))
    var after = "0-0"
    let epoch = connection.epoch
    finished.forget()
    var putOff = 0
    var again: SuspendingClock.Instant?
    while !Task.isCancelled, let fence = flow.standing.fence {
      if let again, again <= .now { return }
      finished.deleteWhatIsLeft()
      let entries = try await flow.read(connection, stream, after: after, count: batch)
      // Another server may have forgotten the newest ids and give out smaller ones: begin again.
      guard connection.epoch == epoch else { return }
      guard let last = entries.last else { continue }
      var messages: [(entry: String, message: Message)] = []
      var done: [String] = []
      for entry in entries {
        do { messages.append((entry.id, try decode(entry.message))) } catch {
          done.append(entry.id)
          flow.logger.error(
            "a message that nobody can read was dropped",
            metadata: ["stream": "\(stream)", "entry": "\(entry.id)", "why": "\(error)"])
        }
      }
      let waiting = messages.isEmpty ? [] : try await commit(messages.map(\.message), fence)
      for (entry, message) in messages {
        if waiting.contains(agent(message)), putOff < mostPutOff { putOff += 1 } else { done.append(entry) }
      }
      if putOff > 0, again == nil { again = .now + Self.patience }
      finished.add(done)
      after = last.id
    }
  }
}

// Lets runs go on with their next attempt once its delay is over. Delays are measured by the monotonic clock of this process, and kept by the
// clock for deadlines for the process after it, which believes no more than the delay can be (`FlowAttempts.held`): a wall clock that jumps by
// hours neither fires all of them at once nor holds them for hours.
// What if: Redis is away: delays end, and what is due waits for its agent like any queued run; the store is full: what was due is tried again
// every second; killed at any moment: the next process reads what is held.
import Logging
import ServiceLifecycle
import Shared
import Synchronization

final class AttemptWaker: Service {
  let store: Store
  let desks: Desks
  let sender: Sender
  let clock: DeadlineClock
  let logger: Logger
  private let trouble: Trouble

  private struct Key: Hashable, Sendable {
    var agent: AgentID
    var id: AttemptID
  }
  private struct Waiting {
    var ends: [Key: SuspendingClock.Instant] = [:]
    /// When the loop looks next by itself; nil: when somebody rings.
    var look: SuspendingClock.Instant?
    /// Before then nothing is written: the last write failed.
    var restsUntil: SuspendingClock.Instant?
    /// What is held has to be read from the store (again).
    var isDoubtful = true
  }
  private let waiting = Mutex(Waiting())
  private let bell: AsyncStream<Void>
  private let bellCord: AsyncStream<Void>.Continuation
  /// Released in one transaction.
  private static let limit = 500
  /// After a write that failed.
  private static let patience: Duration = .seconds(1)
  /// Delays that end within so long of each other end together: a hundred thousand of them cost twenty looks a second and no more.
  private static let grain: Duration = .milliseconds(50)

  init(store: Store, desks: Desks, sender: Sender, clock: DeadlineClock, logger: Logger) {
    self.store = store
    self.desks = desks
    self.sender = sender
    self.clock = clock
    self.logger = logger
    trouble = Trouble(logger, begins: "retries that are due wait on", ends: "retries that are due go on", quiet: .zero)
    (bell, bellCord) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// The run waits before this attempt, from now on.
  func wait(_ agent: AgentID, _ id: AttemptID, _ wait: Duration, now: SuspendingClock.Instant = .now) {
    let end = now + wait
    let isSooner = waiting.withLock { waiting in
      waiting.ends[Key(agent: agent, id: id)] = end
      return waiting.look.map { end < $0 } ?? true
    }
    if isSooner { bellCord.yield() }
  }

  /// A commit was told as failed: it may be done all the same, and then nobody was told of the delays that it began.
  func lookAgain() {
    waiting.withLock { $0.isDoubtful = true }
    bellCord.yield()
  }

  /// Delays that are not over.
  var count: Int { waiting.withLock(\.ends.count) }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var timer: Task<Void, Never>?
      self.bellCord.yield()
      for await _ in self.bell {
        timer?.cancel()
        guard !Task.isCancelled else { break }
        await self.takeOver()
        guard let look = await self.release() else { continue }
        timer = Task { [bellCord = self.bellCord] in
          // Cancelled: somebody rang before.
          do { try await Task.sleep(until: look, clock: .suspending) } catch { return }
          bellCord.yield()
        }
      }
      timer?.cancel()
    }
  }

  /// Lets go on whose delay is over. Returns when to look again; nil: nothing waits.
  private func release() async -> SuspendingClock.Instant? {
    let now = SuspendingClock.now
    let (due, rest) = waiting.withLock { waiting -> ([Key], SuspendingClock.Instant?) in
      if let rest = waiting.restsUntil, now < rest { return ([], rest) }
      waiting.restsUntil = nil
      return (waiting.ends.filter { $0.value <= now }.map(\.key), nil)
    }
    var look = rest
    for part in due.chunks(of: Self.limit) {
      do {
        try await store.write { db in for key in part { try FlowAttempts.release(db, key.agent, key.id) } }
      } catch {
        trouble.met("\(error)", kind: "write")
        look = .now + Self.patience
        waiting.withLock { $0.restsUntil = look }
        break
      }
      trouble.passed()
      waiting.withLock { waiting in for key in part { waiting.ends[key] = nil } }
      for key in part {
        desks.withDesk(key.agent) { desk in
          desk.backlog = true
          // In a restored store it is a question first: at once.
          desk.asked[key.id.task] = nil
        }
      }
      sender.ring(Set(part.map(\.agent)))
    }
    return waiting.withLock { waiting in
      let next = waiting.ends.values.min().map { max($0, now + Self.grain) }
      waiting.look = look.map { failed in next.map { max($0, failed) } ?? failed } ?? next
      return waiting.look
    }
  }

  /// What was held by an earlier process, or began unheard.
  private func takeOver() async {
    while !Task.isCancelled {
      guard waiting.withLock({ $0.isDoubtful }) else { return }
      waiting.withLock { $0.isDoubtful = false }
      do {
        let now = clock.now
        let held = try await store.read { try FlowAttempts.held($0, now: now) }
        let start = SuspendingClock.now
        waiting.withLock { waiting in
          for run in held {
            let key = Key(agent: run.agent, id: AttemptID(task: run.task, attempt: run.attempt))
            if waiting.ends[key] == nil { waiting.ends[key] = start + run.wait }
          }
        }
      } catch {
        waiting.withLock { $0.isDoubtful = true }
        logger.warning("retries that wait were not read", metadata: ["why": "\(error)"])
        if !(await pause(Self.patience)) { return }
      }
    }
  }
}

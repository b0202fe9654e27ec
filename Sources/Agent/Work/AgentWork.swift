// What the agent does, as the rest of the program sees it: start it, stop it, ask how it stands, read a run's log. Everything behind it
// belongs to one actor, the `Worker`.

import Logging
import Redis
import Shared
import Synchronization

final class AgentWork: Sendable {
  /// How the work stands. Cheap to read from anywhere; at most a second old.
  struct Status: Sendable, Equatable {
    /// The lease was taken, and Redis has what the agent says of itself.
    var isRegistered = false
    /// Why Redis is not connected; nil while it is.
    var redisFault: String?
    /// Why the agent has no lease; nil while it has.
    var leaseFault: String? = "not asked for yet"
    var running = 0
    /// Taken, not yet started.
    var waiting = 0
    /// Ended, and the dashboard has not said yet that it stored that.
    var unacknowledged = 0
    /// Why the agent could not take work now; nil while healthy.
    var fault: String? = "starting"
    var journal: JournalID?
  }

  /// A run's log for people.
  struct FoundLog: Sendable {
    var run: RunID
    var bytes: [UInt8]
  }

  let settings: AgentSettings
  let uuid: AgentID
  private let host: HostFacts
  private let descriptors: DescriptorLimit
  private let runner: RunnerProgram
  private let logger: Logger
  private let board = StatusBoard()
  private let worker = Mutex<Worker?>(nil)
  private let wanted = Mutex<StopMode?>(nil)

  /// - Parameters:
  ///   - originalDescriptors: the limit that commands get.
  ///   - runner: what runs attempts; tests name another binary than their own.
  init(
    settings: AgentSettings, uuid: AgentID, host: HostFacts, originalDescriptors: DescriptorLimit, logger: Logger,
    runner: RunnerProgram = .ownBinary
  ) {
    self.settings = settings
    self.uuid = uuid
    self.host = host
    descriptors = originalDescriptors
    self.runner = runner
    self.logger = logger
  }

  var status: Status { board.status }

  /// Takes work and does it until `stop` has taken effect. While Redis is away it waits for it.
  /// - Parameter httpPort: where the own HTTP listens, for others to know.
  /// - Throws: `AgentWorkError`.
  func run(httpPort: Int?) async throws(AgentWorkError) {
    let worker = try await Worker.make(
      WorkSurroundings(
        settings: settings, uuid: uuid, host: host, descriptors: descriptors, httpPort: httpPort, runner: runner, logger: logger,
        board: board))
    self.worker.withLock { $0 = worker }
    if let mode = wanted.withLock({ $0 }) { await worker.stop(mode) }
    let outcome = await worker.run()
    self.worker.withLock { $0 = nil }
    await worker.end()
    try outcome.get()
  }

  /// Asks for an end; a harder one may follow. Returns at once.
  func stop(_ mode: StopMode) {
    wanted.withLock { $0 = mode }
    guard let worker = worker.withLock({ $0 }) else { return }
    Task { await worker.stop(mode) }
  }

  /// The log of a run that this host has, by its `auuid` or its alias; nil where there is none.
  /// - Parameter limit: bytes; of a longer log head and tail are returned, with the gap stated.
  func log(of name: String, limit: Int) async throws -> FoundLog? {
    guard let worker = worker.withLock({ $0 }) else { return nil }
    return await worker.log(of: name, limit: limit)
  }
}

/// Where the worker leaves its status for everybody.
final class StatusBoard: Sendable {
  private let current = Mutex(AgentWork.Status())
  var status: AgentWork.Status { current.withLock { $0 } }
  func update(_ change: (inout AgentWork.Status) -> Void) { current.withLock { change(&$0) } }
}

/// Which program serves as runner: `<executable> <arguments> <records file>`.
struct RunnerProgram: Sendable {
  var executable: String
  var arguments: [String]

  /// The agent's own binary, also after the file was replaced by an upgrade.
  static let ownBinary = RunnerProgram(executable: "/proc/self/exe", arguments: ["agent", "runner"])
}

/// What the worker is given.
struct WorkSurroundings: Sendable {
  var settings: AgentSettings
  var uuid: AgentID
  var host: HostFacts
  var descriptors: DescriptorLimit
  var httpPort: Int?
  var runner: RunnerProgram
  var logger: Logger
  var board: StatusBoard
  var patience = Patience.standard
}

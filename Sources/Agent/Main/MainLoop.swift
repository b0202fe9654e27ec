// What the main thread of a running agent does: it waits for signals, for `agent status`, for the end of the work, and for its time to
// be up. Everything else runs elsewhere, so an agent that hangs still ends when it is told to, and still says how it stands.
//
// Order of an end: signal → the program is told → its `run` returns → the exit code. An end that leaves runs behind is bounded: what
// could not be flushed by then is in the journal, and the next agent ships it.

import CSpawn
import Glibc
import Logging
import Shared
import Synchronization

struct MainLoop: ~Copyable {
  /// From the request to leave until the process ends, whatever hangs. API.md promises 10 s.
  static let leaveLimit: Duration = .seconds(8)
  /// The same for a kill: the runs' grace, the trees' end, the reports.
  static let killMargin: Duration = .seconds(20)
  /// How often the state is looked at for `agent start`, until the agent has registered.
  private static let readinessPeriod: Duration = .milliseconds(20)
  /// How long a client of `status` waits that cannot be let in, for want of a descriptor.
  private static let controlPause: Duration = .milliseconds(500)

  private let program: AgentProgram
  private let signals: Signals
  private var control: ControlSocket
  /// Nobody is let in before.
  private var controlHeldUntil: ContinuousClock.Instant?
  private var readiness: ReadinessPipe?
  private var mode: StopMode?
  private var deadline: ContinuousClock.Instant?

  init(
    _ program: AgentProgram, signals: consuming Signals, control: consuming ControlSocket,
    readiness: consuming ReadinessPipe?
  ) {
    self.program = program
    self.signals = signals
    self.control = control
    self.readiness = readiness
  }

  /// Runs the program until it has ended.
  /// - Throws: what it failed with.
  consuming func run() throws(AgentFailure) {
    let ending = try Ending()
    let program = program
    let task = Task.detached { ending.finish(await program.run()) }
    defer { task.cancel() }
    while true {
      wait(for: ending)
      if let result = ending.result {
        if case .failure(let failure) = result {
          if case .unended(let what) = failure { UnendedFile.write(what, program.settings, program.logger) }
          readiness.take()?.failed(failure)
          throw failure
        }
        return
      }
      for signal in signals.take() { received(signal) }
      serveControl()
      tellReadiness()
      if let deadline, deadline <= .now {
        program.logger.warning("the end takes too long: ended at once; the journal keeps what was not reported yet")
        guard mode == .kill, program.running > 0 else { return }
        let what = ["\(program.running) command\(program.running == 1 ? "" : "s") still at work when the time was up"]
        UnendedFile.write(what, program.settings, program.logger)
        throw .unended(what)
      }
    }
  }

  private mutating func serveControl() {
    if let controlHeldUntil, controlHeldUntil > .now { return }
    let (program, mode) = (program, mode)
    let isServed = control.serve { word in
      word == "status" ? try? JSONCoder.encode(program.status(stopping: mode)) : nil
    }
    controlHeldUntil = isServed ? nil : .now + MainLoop.controlPause
  }

  /// Returns when anything happened or some time has passed.
  private func wait(for ending: Ending) {
    var entries = [
      pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
      // A negative one is passed over.
      pollfd(fd: controlHeldUntil == nil ? control.descriptor : -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: ending.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    var limit: Duration?
    if readiness != nil { limit = MainLoop.readinessPeriod }
    for time in [deadline, controlHeldUntil] {
      if let time { limit = min(limit ?? .seconds(3600), max(.zero, time - .now)) }
    }
    _ = cspawn_poll(&entries, entries.count, limit?.nanoseconds ?? -1)
  }

  private mutating func received(_ signal: Int32) {
    guard let asked = StopMode(signal: signal) else { return }
    if signal == SIGINT, mode == .leave {
      // Ctrl-C once more: somebody is in a hurry.
      deadline = .now
      return
    }
    program.logger.notice("told to stop", metadata: ["how": "\(asked)", "signal": "\(signal)"])
    stop(asked)
  }

  private mutating func stop(_ asked: StopMode) {
    mode = asked
    switch asked {
    case .leave: deadline = .now + MainLoop.leaveLimit
    case .kill: deadline = .now + program.settings.task.grace + MainLoop.killMargin
    case .drain: deadline = nil
    }
    program.stop(asked)
  }

  /// For `agent start`: tells it how it stands, until there is nothing more to tell or nobody to listen.
  private mutating func tellReadiness() {
    guard readiness != nil else { return }
    if readiness?.isAbandoned == true {
      readiness = nil
      program.logger.notice("nobody waits for this agent to become ready any more: it ends")
      return stop(.leave)
    }
    if program.isRegistered {
      readiness.take()?.ready()
    } else if let fault = program.redisFault {
      readiness?.waiting(fault)
    }
  }
}

extension Duration {
  /// For system calls; whole nanoseconds.
  var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}

/// How the program ended, handed from its task to the main thread.
private final class Ending: Sendable {
  /// Readable once there is a result.
  let descriptor: Int32
  private let writer: Int32
  private let outcome = Mutex<Result<Void, AgentFailure>?>(nil)

  init() throws(AgentFailure) {
    var ends: [Int32] = [-1, -1]
    guard cspawn_pipe(&ends) == 0 else { throw .system(action: "make a pipe", code: errno) }
    (descriptor, writer) = (ends[0], ends[1])
  }

  deinit {
    close(descriptor)
    close(writer)
  }

  var result: Result<Void, AgentFailure>? { outcome.withLock { $0 } }

  func finish(_ result: Result<Void, AgentFailure>) {
    outcome.withLock { $0 = result }
    var byte: UInt8 = 0
    _ = write(writer, &byte, 1)
  }
}

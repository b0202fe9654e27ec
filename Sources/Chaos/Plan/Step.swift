// One step of a plan: what is done to whom, and when. Steps are plain values that print as a line; the Conductor does them.
// When adding a kind: its line in `description`, its place in PlanMaking, its deed in Conductor.

/// A process of the stand that the plan kills and starts.
enum Program: Hashable, CustomStringConvertible {
  case dashboard
  case agent(Int)
  case redis

  var description: String {
    switch self {
    case .dashboard: "dashboard"
    case .agent(let index): "agent \(index)"
    case .redis: "Redis"
    }
  }
}

/// What the proxy between a program and Redis does with its connections.
enum LinkMode: Hashable, CustomStringConvertible {
  case pass
  /// Every byte comes this much later.
  case delay(milliseconds: Int)
  /// Connections stay open, and nothing passes in either direction.
  case silent
  /// Connections are closed as soon as they are made, and those that are open at once.
  case refuse

  var description: String {
    switch self {
    case .pass: "as it was"
    case .delay(let milliseconds): "delayed by \(milliseconds) ms"
    case .silent: "silent"
    case .refuse: "refused"
    }
  }
}

/// Something that happens once to the connections that are open.
enum LinkBlow: Hashable, CustomStringConvertible {
  /// Closed at once, by a reset.
  case cut
  /// The next request is forwarded whole; when its answer comes, the connection is closed instead: done, but the caller saw an error.
  case cutBeforeReply
  /// The same, but the connection stays open and nothing more comes from Redis: done, but the caller saw a timeout.
  case swallowReplies
  /// Half of the next request is forwarded.
  case cutWithinRequest
  /// Half of the next answer is forwarded.
  case cutWithinReply
  /// The program sees an end of file, and what it still sends goes on to Redis.
  case halfCloseFromRedis
  /// Redis sees an end of file, and what it still answers goes on to the program.
  case halfCloseToRedis

  var description: String {
    switch self {
    case .cut: "cut"
    case .cutBeforeReply: "cut once a request is done, before its reply"
    case .swallowReplies: "a request is done, and its reply and all later ones are swallowed"
    case .cutWithinRequest: "cut within a request"
    case .cutWithinReply: "cut within a reply"
    case .halfCloseFromRedis: "half-closed towards the program"
    case .halfCloseToRedis: "half-closed towards Redis"
    }
  }

  static let all: [LinkBlow] = [
    .cut, .cutBeforeReply, .cutBeforeReply, .swallowReplies, .swallowReplies, .cutWithinRequest, .cutWithinReply,
    .halfCloseFromRedis, .halfCloseToRedis,
  ]
}

enum Action: Hashable, CustomStringConvertible {
  case kill(Program)
  case terminate(Program)
  /// `faults`: of a thousand commits, so many are reported as failed although they were done (dashboard of a debug build only).
  case start(Program, faults: Int)
  case hold(Program)
  case release(Program)
  /// The `pick`-th of the agent's runners that are there then.
  case killRunner(agent: Int, pick: Int)
  case killAgentAndRunners(agent: Int)
  case holdRunner(agent: Int, pick: Int)
  case releaseRunners(agent: Int)
  case link(Program, LinkMode)
  case blow(Program, LinkBlow)
  case flushRedis
  /// SIGKILL, and its files are deleted.
  case wipeRedis
  /// SIGKILL for the dashboard, and its database is copied.
  case copyDatabase
  /// SIGKILL for the dashboard, and the newest copy is put back.
  case restoreDatabase

  var description: String {
    switch self {
    case .kill(let program): "SIGKILL \(program)"
    case .terminate(let program): "SIGTERM \(program)"
    case .start(let program, let faults): "start \(program)" + (faults > 0 ? ", \(faults) of 1000 commits seem to fail" : "")
    case .hold(let program): "SIGSTOP \(program)"
    case .release(let program): "SIGCONT \(program)"
    case .killRunner(let agent, let pick): "SIGKILL a runner of agent \(agent) (\(pick))"
    case .killAgentAndRunners(let agent): "SIGKILL agent \(agent) and its runners"
    case .holdRunner(let agent, let pick): "SIGSTOP a runner of agent \(agent) (\(pick))"
    case .releaseRunners(let agent): "SIGCONT the runners of agent \(agent)"
    case .link(let program, let mode): "Redis for \(program): \(mode)"
    case .blow(let program, let blow): "Redis for \(program): \(blow)"
    case .flushRedis: "FLUSHALL"
    case .wipeRedis: "SIGKILL Redis, its files deleted"
    case .copyDatabase: "SIGKILL dashboard, its database copied"
    case .restoreDatabase: "SIGKILL dashboard, its database restored from the copy"
    }
  }

  /// How many processes it kills at least.
  var kills: Int {
    switch self {
    case .kill, .killRunner, .wipeRedis, .copyDatabase, .restoreDatabase, .killAgentAndRunners: 1
    default: 0
    }
  }
}

struct Step: Hashable, CustomStringConvertible {
  /// Milliseconds since the plan began.
  let at: Int
  let action: Action

  var description: String {
    let milliseconds = String(at % 1000 + 1000).dropFirst()
    let seconds = String(at / 1000)
    return String(repeating: " ", count: max(0, 5 - seconds.count)) + "\(seconds).\(milliseconds) s  \(action)"
  }
}

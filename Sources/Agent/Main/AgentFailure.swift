// What keeps a command of the agent from doing its work, as values. Worded for the terminal in Command/Wording.swift, nowhere else.

import Shared

enum AgentFailure: Error, Sendable {
  /// All that is wrong with the settings or the folders they name.
  case settings(SettingsProblems)
  /// Another process holds the state folder.
  case alreadyRunning(lockFile: String, pid: Int32?)
  case file(FileError)
  /// A system call that every agent needs has failed.
  case system(action: String, code: Int32)
  /// The own HTTP address cannot be had.
  case cannotListen(address: String, reason: String)
  /// The work itself could not begin or go on: the lease is another's, the journal is unreadable …; a sentence.
  case work(String)
  /// Every command was to be ended first, and these could not be.
  case unended([String])

  // `agent start`

  /// Redis could not be used; the agent that waited for it was ended again.
  case redisAway(place: String, reason: String, after: Duration)
  /// Neither registered nor waiting for Redis.
  case notReady(after: Duration)
  /// The background process said why it ended. What it said is worded already.
  case backgroundFailed(String, ExitStatus)
  /// It ended without a word; `end` is how ("signal 11"), `lastWords` what it left on its standard error.
  case backgroundDied(end: String, lastWords: String, file: String)
  case cannotSpawn(program: String, code: Int32)

  // `agent stop`, `agent status`

  case notRunning(statePath: String, stalePid: Int32?)
  case mayNotSignal(pid: Int32)
  case stillRunning(pid: Int32, after: Duration)
  /// It runs, but does not answer.
  case noAnswer(pid: Int32, reason: String)
}

/// Exit codes (API.md, "Settings"). They never change.
enum ExitStatus: Int32, Sendable {
  case done = 0
  case failed = 1
  /// Wrong usage or settings.
  case misused = 2
  /// `status` and `stop` only.
  case notRunning = 3
}

extension AgentFailure {
  var exitStatus: ExitStatus {
    switch self {
    case .settings: .misused
    case .notRunning: .notRunning
    case .backgroundFailed(_, let status): status
    default: .failed
    }
  }
}

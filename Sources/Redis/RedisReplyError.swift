// An error that the server answered: the command was refused, or failed on the server; nothing is unknown.
// When adding a code, also add the word that the server begins its message with to `init(message:)`.

/// An error reply, told apart by the first word of its message.
public struct RedisReplyError: Error, Sendable, Hashable, CustomStringConvertible {
  public enum Code: Sendable, Hashable {
    case moved, ask, crossSlot, clusterDown, masterDown, tryAgain
    case noAuth, wrongPass, noPerm
    case readOnly, oom, misconf, noReplicas, loading, busy, maxClients
    case wrongType, noScript, execAbort, busyGroup, noGroup, unblocked
    /// Any other first word; `ERR` is the commonest.
    case other(String)
  }

  public let code: Code
  /// The whole message, its first word included.
  public let message: String

  public init(message: String) {
    self.message = message
    let word = message.prefix { $0 != " " }
    code =
      switch word {
      case "MOVED": .moved
      case "ASK": .ask
      case "READONLY": .readOnly
      case "OOM": .oom
      case "LOADING": .loading
      case "NOAUTH": .noAuth
      case "WRONGPASS": .wrongPass
      case "NOSCRIPT": .noScript
      case "WRONGTYPE": .wrongType
      case "BUSY": .busy
      case "NOPERM": .noPerm
      case "MASTERDOWN": .masterDown
      case "CLUSTERDOWN": .clusterDown
      case "CROSSSLOT": .crossSlot
      case "TRYAGAIN": .tryAgain
      case "MISCONF": .misconf
      case "EXECABORT": .execAbort
      case "BUSYGROUP": .busyGroup
      case "NOGROUP": .noGroup
      case "NOREPLICAS": .noReplicas
      case "UNBLOCKED": .unblocked
      case "ERR" where message.hasPrefix("ERR max number of clients reached"): .maxClients
      default: .other(String(word))
      }
  }

  public var description: String { message }

  /// What may be shown of an answer to `AUTH`: whoever does not know that command (it was renamed, it is a proxy) may repeat what it was given,
  /// Redis in quotes.
  func hiding(_ password: String) -> RedisReplyError {
    let told = message.prefix { !"'`\"".contains($0) }
    if !password.isEmpty, told.contains(password) {
      let word = if case .other = code { "ERR" } else { String(message.prefix { $0 != " " }) }
      return RedisReplyError(message: "\(word) (hidden)")
    }
    return told.count == message.count ? self : RedisReplyError(message: told + "(hidden)")
  }

  /// It is about the server's present state: the same command may succeed later.
  public var isPassing: Bool {
    switch code {
    case .oom, .readOnly, .misconf, .loading, .busy, .masterDown, .clusterDown, .tryAgain, .noReplicas, .maxClients: true
    default: false
    }
  }

  /// A Cluster's node says that another one is to be asked, or this one later. It has done nothing.
  public var isRedirection: Bool {
    switch code {
    case .moved, .ask, .tryAgain, .clusterDown: true
    default: false
    }
  }

  /// The user lacks a right; Redis does not always say for what.
  public var isRefusedRight: Bool {
    switch code {
    case .noPerm: true
    case .other("ERR"): message.hasPrefix("ERR The user executing the script")
    default: false
    }
  }
}

extension RedisValue {
  /// A refusal by ACL names what was refused: the command or script, and its first key.
  func naming(_ command: RedisCommand) -> RedisValue {
    guard case .error(let error) = self, error.isRefusedRight else { return self }
    let key = command.routingKey.map { " on \(String(decoding: $0, as: UTF8.self))" } ?? ""
    return .error(RedisReplyError(message: "\(error.message) (asked for: \(command.name)\(key))"))
  }
}

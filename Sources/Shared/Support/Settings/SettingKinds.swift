// The kinds of settings. Numbers are read by JSON's grammar from the environment and the command line too, so that a
// value means the same wherever it is written.

import Logging

extension SettingKind where Value == String {
  /// Text that is not empty and has no control characters.
  static var text: Self {
    SettingKind({ (input) throws(BadSetting) in try input.text() }, show: { $0 })
  }

  /// A name by the rules of names.
  static var name: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        let name = try input.text()
        if let reason = nameFault(name) { throw BadSetting(reason) }
        return name
      }, show: { $0 })
  }

  /// A path; a relative one is made absolute when all settings are known.
  static var path: Self { text }

  /// A host name, an address without a port, or the absolute path of a unix socket.
  static var hostOrSocket: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        let text = try input.text()
        if text.hasPrefix("/") {
          if text.utf8.count > 107 { throw BadSetting("must be a socket path of at most 107 bytes") }
          return text
        }
        if let both = HostPort(text) {
          throw BadSetting("must be a host without a port (\"\(both.host)\"; the port is a setting of its own)")
        }
        if text.contains(where: "/ @?".contains) { throw BadSetting("must be a host, an address or an absolute socket path") }
        return text
      }, show: { $0 })
  }
}

extension SettingKind where Value == [String] {
  /// Names, as a list or as one text with commas; one that stands twice counts once.
  static var names: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        var names: [String] = []
        for part in try input.list() {
          let name = part.trimmingSpaces()
          if let reason = nameFault(name) {
            throw BadSetting(name.isEmpty ? "must not have an empty name" : "\"\(name)\" \(reason)")
          }
          if !names.contains(name) { names.append(name) }
        }
        return names
      }, show: { $0.isEmpty ? "-" : $0.joined(separator: ", ") })
  }
}

extension SettingKind where Value == Int {
  static func integer(_ range: ClosedRange<Int>) -> Self {
    SettingKind(
      { (input) throws(BadSetting) in
        guard let integer = input.number?.asInteger, range.contains(Int(integer)) else {
          throw BadSetting("must be a whole number from \(range.lowerBound) to \(range.upperBound), it is \(input.shown)")
        }
        return Int(integer)
      }, show: { "\($0)" })
  }

  static var port: Self { integer(1...65535) }
}

extension SettingKind where Value == Duration {
  /// Seconds, fractions allowed.
  static func seconds(_ range: ClosedRange<Double>) -> Self {
    SettingKind(
      { (input) throws(BadSetting) in
        guard let seconds = input.number?.asDouble, range.contains(seconds) else {
          throw BadSetting(
            "must be a number of seconds from \(JSONValue.double(range.lowerBound).text) to "
              + "\(JSONValue.double(range.upperBound).text), it is \(input.shown)")
        }
        return .seconds(seconds)
      }, show: { $0.secondsText })
  }
}

extension SettingKind where Value == Duration? {
  /// How long a run may take: seconds above 0; negative is none. As in a task's body, except that 0 has no default to mean.
  static var timeout: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        guard let seconds = input.number?.asDouble, seconds != 0, seconds <= 1e9 else {
          throw BadSetting("must be a number of seconds above 0, or a negative one for no limit, it is \(input.shown)")
        }
        return seconds < 0 ? nil : .seconds(seconds)
      }, show: { $0.map(\.secondsText) ?? "no limit" })
  }
}

extension SettingKind where Value == HostPort {
  /// Where to listen. Beyond loopback is refused until there are tokens (DESIGN section 6).
  static var loopback: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        let text = try input.text()
        guard let listen = HostPort(text) else {
          throw BadSetting("must be HOST:PORT such as 127.0.0.1:8080 or [::1]:0, it is \(text.quoted)")
        }
        guard listen.isLoopback else {
          throw BadSetting(
            "must be a loopback address (127.0.0.1, ::1, localhost), not \"\(listen.host)\": without tokens anybody who "
              + "reaches the port could run commands. Put a proxy that checks who asks in front, or use an SSH tunnel")
        }
        return listen
      }, show: { $0.description })
  }
}

extension SettingKind where Value == Secret {
  static var secret: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        // The reasons must not repeat what was written.
        switch input {
        case .json(.string(let text)), .text(let text):
          if text.isEmpty { throw BadSetting("must not be empty") }
          return Secret(text)
        case .json(let value): throw BadSetting("must be a string, it is \(value.kindName)")
        }
      }, show: { "\($0)" })
  }
}

extension SettingKind where Value == Logger.Level {
  static var level: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        let text = try input.text()
        guard let level = Logger.Level(rawValue: text.lowercased()) else {
          throw BadSetting("must be one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")), it is \"\(text)\"")
        }
        return level
      }, show: { $0.rawValue })
  }
}

extension SettingKind where Value == RedisPlace {
  /// `embedded`, `HOST:PORT`, or a socket's path.
  static var redisPlace: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        let text = try input.text()
        if text == "embedded" { return .embedded }
        if text.hasPrefix("/") { return .unix(path: try SettingKind<String>.hostOrSocket.read(input)) }
        guard let place = HostPort(text), place.port > 0 else {
          throw BadSetting("must be HOST:PORT, a socket's absolute path, or \"embedded\", it is \(text.quoted)")
        }
        return .tcp(host: place.host, port: place.port)
      }, show: { $0.description })
  }
}

extension SettingKind where Value == [HostPort] {
  /// Servers, as a list or as one text with commas.
  static var nodes: Self {
    SettingKind(
      { (input) throws(BadSetting) in
        var nodes: [HostPort] = []
        for part in try input.list() {
          let text = part.trimmingSpaces()
          guard let node = HostPort(text), node.port > 0 else {
            throw BadSetting("must be a list of HOST:PORT such as 10.0.0.1:26379, it has \(text.quoted)")
          }
          if !nodes.contains(node) { nodes.append(node) }
        }
        return nodes
      }, show: { $0.isEmpty ? "-" : $0.map(\.description).joined(separator: ", ") })
  }
}

extension SettingKind where Value == RedisCluster {
  /// `true`, `false`, or nodes.
  static var cluster: Self {
    let nodes = SettingKind<[HostPort]>.nodes
    return SettingKind(
      { (input) throws(BadSetting) in
        switch input {
        case .json(.bool(true)), .text("true"): return .atAddress
        case .json(.bool(false)), .text("false"): return .no
        default:
          let found = try nodes.read(input)
          return found.isEmpty ? .no : .nodes(found)
        }
      },
      show: {
        switch $0 {
        case .no: "-"
        case .atAddress: "true"
        case .nodes(let found): nodes.show(found)
        }
      })
  }
}

// MARK: Input

extension SettingInput {
  fileprivate func text() throws(BadSetting) -> String {
    switch self {
    case .json(.string(let text)), .text(let text):
      if text.isEmpty { throw BadSetting("must not be empty") }
      if text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
        throw BadSetting("must not contain control characters")
      }
      return text
    case .json(.integer(let value)): throw BadSetting("must be a string: write \"\(value)\" in quotes")
    case .json(let value): throw BadSetting("must be a string, it is \(value.kindName)")
    }
  }

  fileprivate func list() throws(BadSetting) -> [String] {
    guard case .json(.array(let elements)) = self else {
      if case .json(let value) = self, value.asString == nil {
        throw BadSetting("must be a list of names or one string with commas, it is \(value.kindName)")
      }
      return try text().split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    var texts: [String] = []
    for element in elements {
      guard let text = element.asString else { throw BadSetting("must be a list of strings, it holds \(element.kindName)") }
      texts.append(text)
    }
    return texts
  }

  /// A JSON number; from the environment or the command line its text.
  fileprivate var number: JSONValue? {
    switch self {
    case .json(let value): return value
    case .text(let text): return try? JSONReader.parse(text)
    }
  }

  fileprivate var shown: String {
    switch self {
    case .json(let value):
      switch value {
      case .integer, .double: value.text
      default: value.kindName
      }
    case .text(let text): text.quoted
    }
  }
}

extension JSONValue {
  fileprivate var text: String { String(decoding: bytes(), as: UTF8.self) }
}

extension Duration {
  /// `10 s`, `0.5 s`.
  fileprivate var secondsText: String {
    let (seconds, attoseconds) = components
    return JSONValue.double(Double(seconds) + Double(attoseconds) / 1e18).text + " s"
  }
}

extension String {
  /// As a problem repeats it. The usual way to write a Redis elsewhere is a URL with the password in it, and problems go to logs.
  fileprivate var quoted: String {
    guard contains(where: "@/?".contains) else { return "\"\(self)\"" }
    return "something like a URL, which is not repeated here: user and password have settings of their own"
  }

  fileprivate func trimmingSpaces() -> String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}

// `http.*`: where a program listens and what it puts up with. The limits carry the names and defaults of HTTP's
// `ServerLimits`; this target does not know HTTP, so the programs copy them over, one by one.

public struct HTTPSettings: Sendable {
  /// Port 0 asks for a free one.
  public internal(set) var listen: HostPort
  public internal(set) var limits = HTTPLimitSettings()

  init(listen: HostPort) {
    self.listen = listen
  }
}

/// API.md, "Limits".
public struct HTTPLimitSettings: Sendable {
  /// Bytes of a request line; more: 414.
  public internal(set) var requestLine = 8 << 10
  /// Bytes of a head; more: 431.
  public internal(set) var head = 32 << 10
  /// Fields of a head; more: 431.
  public internal(set) var fields = 100
  /// Bytes of a body; more: 413.
  public internal(set) var body = 1 << 20
  /// For a whole head; longer: 408.
  public internal(set) var headTimeout: Duration = .seconds(10)
  /// Without a byte of a body; longer: 408.
  public internal(set) var bodyIdle: Duration = .seconds(30)
  /// Between requests; longer: closed.
  public internal(set) var idle: Duration = .seconds(60)
  /// Without a byte taken by the client while some wait; longer: cut.
  public internal(set) var writeStall: Duration = .seconds(30)
  /// Open at once; more: 503.
  public internal(set) var connections = 10_000
}

extension HTTPSettings {
  static func rows(listenFlag: String?) -> [Setting<HTTPSettings>] {
    [
      Setting("listen", \.listen, .loopback, flag: listenFlag, "where to listen, HOST:PORT"),
      Setting("limits.requestLine", \.limits.requestLine, .integer(128...1 << 20), "bytes of a request line"),
      Setting("limits.head", \.limits.head, .integer(1024...16 << 20), "bytes of a request's head"),
      Setting("limits.fields", \.limits.fields, .integer(8...10_000), "fields of a request's head"),
      Setting("limits.body", \.limits.body, .integer(1024...1 << 30), "bytes of a request's body"),
      Setting("limits.headTimeout", \.limits.headTimeout, .seconds(0.1...3600), "seconds for a whole head"),
      Setting("limits.bodyIdle", \.limits.bodyIdle, .seconds(0.1...3600), "seconds without a byte of a body"),
      Setting("limits.idle", \.limits.idle, .seconds(0.1...86_400), "seconds between two requests"),
      Setting("limits.writeStall", \.limits.writeStall, .seconds(0.1...3600), "seconds without a byte taken by the client"),
      Setting("limits.connections", \.limits.connections, .integer(1...1_000_000), "connections at once"),
    ]
  }
}

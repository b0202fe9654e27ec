// Asks Sentinels where the master is, one after the other, on short connections of its own. Blocks: for a thread that may.
// A Sentinel that does not know the name, is away or is silent for its share of the time is passed over. What one says may be late, so
// whoever connects there lets the server itself say whether it is a master (`Greeting`).
import Glibc

struct SentinelQuery: Sendable {
  let master: String
  let sentinels: [RedisConfiguration.Address]
  /// Where to begin, modulo their number.
  let first: Int
  /// Used where a Sentinel wants a password.
  let username: String?
  let password: String?
  let deadline: MonotonicTime

  func ask() -> Result<Resolution, RedisFault> {
    var reason = "there is none to ask"
    for step in sentinels.indices {
      let index = (first % sentinels.count + step) % sentinels.count
      let share = (deadline - .now) / (sentinels.count - step)
      do throws(RedisFault) {
        let server = try ask(sentinels[index], until: .now + share)
        let addresses = try Self.addresses(of: server)
        return .success(Resolution(server: server, addresses: addresses, sentinel: index))
      } catch {
        reason = "\(sentinels[index]): \(error)"
      }
    }
    return .failure(.noMaster(name: master, reason: reason))
  }

  /// Another server that they mean now and that says itself that it is a master; nil where they still mean `server` or cannot be asked.
  func successor(of server: RedisConfiguration.Address) -> RedisConfiguration.Address? {
    guard case .success(let found) = ask(), found.server != server else { return nil }
    for address in found.addresses {
      do throws(RedisFault) {
        let line = try Line(to: address, until: deadline)
        let reply = try ask(RedisCommand("ROLE"), line)
        if reply.array?.first?.string == "master" { return found.server }
        // Whoever may not ask for the role believes the Sentinels.
        if reply.error?.code == .noPerm { return found.server }
      } catch {
        continue
      }
    }
    return nil
  }

  private static func addresses(of server: RedisConfiguration.Address) throws(RedisFault) -> [SocketAddress] {
    switch server {
    case .tcp(let host, let port):
      if let addresses = SocketAddress.numeric(host: host, port: port) { return addresses }
      return try SocketAddress.lookUp(host: host, port: port).get()
    case .unix(let path):
      guard let address = SocketAddress(unixPath: path) else { throw .unresolvable(host: path, reason: "no path of a socket") }
      return [address]
    case .sentinel: throw .unresolvable(host: "\(server)", reason: "a Sentinel has an address of its own")
    }
  }

  private func ask(_ sentinel: RedisConfiguration.Address, until deadline: MonotonicTime) throws(RedisFault)
    -> RedisConfiguration.Address
  {
    var fault = RedisFault.connecting
    for address in try Self.addresses(of: sentinel) {
      do throws(RedisFault) {
        let line = try Line(to: address, until: deadline)
        let reply = try ask(RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master), line)
        if let error = reply.error { throw .refused(error) }
        guard let words = reply.array, words.count == 2, let host = words[0].string, let port = words[1].integer else {
          throw .noMaster(name: master, reason: "it does not know that name")
        }
        return .tcp(host: host, port: Int(clamping: port))
      } catch {
        fault = error
      }
    }
    throw fault
  }

  /// Logs in where that is asked for.
  private func ask(_ question: RedisCommand, _ line: Line) throws(RedisFault) -> RedisValue {
    let reply = try line.ask(question)
    guard reply.error?.code == .noAuth, let password else { return reply }
    let words: [any RedisArgument] = username.map { [$0, password] } ?? [password]
    if let error = try line.ask(RedisCommand("AUTH", arguments: words)).error { throw .refused(error) }
    return try line.ask(question)
  }

  /// A connection for one question after the other.
  private final class Line {
    private let socket: Socket
    private let deadline: MonotonicTime
    private let reader: ReplyReader
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)

    init(to address: SocketAddress, until deadline: MonotonicTime) throws(RedisFault) {
      guard let reader = ReplyReader() else { throw .system(operation: "malloc", errno: ENOMEM) }
      let (socket, isConnected) = try Socket.connect(to: address).get()
      (self.reader, self.socket, self.deadline) = (reader, socket, deadline)
      guard !isConnected else { return }
      try wait(for: POLLOUT)
      if let fault = socket.connectFault() { throw fault }
    }

    deinit { buffer.deallocate() }

    private func wait(for events: Int32) throws(RedisFault) {
      var descriptor = pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
      while true {
        guard deadline > .now else { throw .timedOut(operation: "asking a Sentinel", after: .zero) }
        let count = poll(&descriptor, 1, deadline.pollTimeout(from: .now))
        if count > 0 { return }
        if count < 0, errno != EINTR { throw .system(operation: "poll", errno: errno) }
      }
    }

    func ask(_ command: RedisCommand) throws(RedisFault) -> RedisValue {
      var output = OutputBuffer()
      output.add(command, withSource: false)
      while true {
        try output.flush(to: socket)
        if output.isEmpty { break }
        try wait(for: POLLOUT)
      }
      var reply: RedisValue?
      while reply == nil {
        try wait(for: POLLIN)
        guard let count = try socket.receive(into: buffer) else { continue }
        try reader.feed(UnsafeRawBufferPointer(rebasing: buffer[..<count])) { (value) throws(RedisFault) in reply = value }
      }
      return reply ?? .null
    }
  }
}

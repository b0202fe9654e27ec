// Asks Sentinels where the master is, one after the other, on short connections of its own. Blocks: for a thread that may.
// One of them may be cut off together with an old master, for good: so what more than half of all of them say is believed, and then no further
// one is asked. Where there is no such half, the one that knows of the newest failover is right, as among Sentinels themselves (`config-epoch`).
// A Sentinel that does not know the name, is away or is silent for its share of the time is passed over, and asked last the next time. What
// they say may be late, so whoever connects there lets the server itself say whether it is a master (`Greeting`).
import Glibc

struct SentinelQuery: Sendable {
  let master: String
  let sentinels: [RedisConfiguration.Address]
  /// Each one's index, once.
  let order: [Int]
  /// Used where a Sentinel wants a password.
  let username: String?
  let password: String?
  /// For asking and for reaching the master.
  let deadline: MonotonicTime

  private struct Answer {
    let sentinel: Int
    let server: RedisConfiguration.Address
    /// Of the failover that made it the master; -1 where the Sentinel does not say.
    let epoch: Int64
  }

  func ask() -> Result<Resolution, RedisFault> {
    var reason = "there is none to ask"
    var answers: [Answer] = []
    var silent: [Int] = []
    // The other half of the time is for reaching the master.
    let limit = MonotonicTime.now + (deadline - .now) / 2
    for (step, index) in order.enumerated() where majority(of: answers) == nil {
      do throws(RedisFault) {
        answers.append(try ask(index, within: (limit - .now) / (order.count - step)))
      } catch {
        reason = "\(sentinels[index]): \(error)"
        silent.append(index)
      }
    }
    guard let server = majority(of: answers) ?? newest(of: answers) else {
      return .failure(.noMaster(name: master, reason: reason))
    }
    let answered = answers.map(\.sentinel)
    let unasked = order.filter { !answered.contains($0) && !silent.contains($0) }
    do throws(RedisFault) {
      return .success(
        Resolution(server: server, addresses: try Self.addresses(of: server), sentinelOrder: answered + unasked + silent))
    } catch {
      return .failure(error)
    }
  }

  private func votes(for server: RedisConfiguration.Address, in answers: [Answer]) -> Int {
    answers.count { $0.server == server }
  }

  /// What more than half of all say, also of those that do not answer.
  private func majority(of answers: [Answer]) -> RedisConfiguration.Address? {
    answers.first { votes(for: $0.server, in: answers) > sentinels.count / 2 }?.server
  }

  private func newest(of answers: [Answer]) -> RedisConfiguration.Address? {
    // Where nothing else tells them apart, at least all connections come to the same one.
    func rank(_ answer: Answer) -> (Int64, Int, String) {
      (answer.epoch, votes(for: answer.server, in: answers), "\(answer.server)")
    }
    return answers.max { rank($0) < rank($1) }?.server
  }

  /// Another server that they mean now and that says itself that it is a master; nil where they still mean `server` or cannot be asked.
  func successor(of server: RedisConfiguration.Address) -> RedisConfiguration.Address? {
    guard case .success(let found) = ask(), found.server != server else { return nil }
    // One that cannot be reached is no successor; what is wrong with it shows when this link is gone.
    guard let reply = try? ask([RedisCommand("ROLE")], at: found.addresses, within: deadline - .now)[0] else { return nil }
    // Whoever may not ask for the role believes the Sentinels.
    return reply.array?.first?.string == "master" || reply.error?.code == .noPerm ? found.server : nil
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

  private func ask(_ sentinel: Int, within share: Duration) throws(RedisFault) -> Answer {
    let questions = [RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master), RedisCommand("SENTINEL", "MASTER", master)]
    let replies = try ask(questions, at: try Self.addresses(of: sentinels[sentinel]), within: share)
    if let error = replies[0].error { throw .refused(error) }
    guard let words = replies[0].array, words.count == 2, let host = words[0].string, let port = words[1].integer else {
      throw .noMaster(name: master, reason: "it does not know that name")
    }
    let fields = replies[1].array ?? []
    let epoch = fields.firstIndex { $0.string == "config-epoch" }.flatMap { fields.dropFirst($0 + 1).first?.integer }
    return Answer(sentinel: sentinel, server: .tcp(host: host, port: Int(clamping: port)), epoch: epoch ?? -1)
  }

  /// The replies of the first address that gives some; each has its share of the time.
  func ask(_ questions: [RedisCommand], at addresses: [SocketAddress], within limit: Duration) throws(RedisFault)
    -> [RedisValue]
  {
    let deadline = MonotonicTime.now + limit
    var fault = RedisFault.connecting
    for (index, address) in addresses.enumerated() {
      do throws(RedisFault) {
        return try ask(questions, Line(to: address, within: (deadline - .now) / (addresses.count - index)))
      } catch {
        fault = error
      }
    }
    throw fault
  }

  /// Logs in where that is asked for.
  private func ask(_ questions: [RedisCommand], _ line: Line) throws(RedisFault) -> [RedisValue] {
    let replies = try line.ask(questions)
    guard replies[0].error?.code == .noAuth, let password else { return replies }
    let words: [any RedisArgument] = username.map { [$0, password] } ?? [password]
    if let error = try line.ask([RedisCommand("AUTH", arguments: words)])[0].error { throw .refused(error.hiding(password)) }
    return try line.ask(questions)
  }

  /// A connection for some questions, with a limit for all of it.
  private final class Line {
    private let socket: Socket
    private let limit: Duration
    private let deadline: MonotonicTime
    private let reader: ReplyReader
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)

    init(to address: SocketAddress, within limit: Duration) throws(RedisFault) {
      guard let reader = ReplyReader() else { throw .system(operation: "malloc", errno: ENOMEM) }
      let (socket, isConnected) = try Socket.connect(to: address).get()
      (self.reader, self.socket, self.limit, deadline) = (reader, socket, limit, .now + limit)
      guard !isConnected else { return }
      try wait(for: POLLOUT)
      if let fault = socket.connectFault() { throw fault }
    }

    deinit { buffer.deallocate() }

    private func wait(for events: Int32) throws(RedisFault) {
      var descriptor = pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
      while true {
        guard deadline > .now else { throw .timedOut(operation: "an answer", after: limit) }
        let count = poll(&descriptor, 1, deadline.pollTimeout(from: .now))
        if count > 0 { return }
        if count < 0, errno != EINTR { throw .system(operation: "poll", errno: errno) }
      }
    }

    /// One reply for each.
    func ask(_ commands: [RedisCommand]) throws(RedisFault) -> [RedisValue] {
      var output = OutputBuffer()
      for command in commands { output.add(command, withSource: false) }
      while true {
        try output.flush(to: socket)
        if output.isEmpty { break }
        try wait(for: POLLOUT)
      }
      var replies: [RedisValue] = []
      while replies.count < commands.count {
        try wait(for: POLLIN)
        guard let count = try socket.receive(into: buffer) else { continue }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        try reader.feed(bytes) { (value) throws(RedisFault) in replies.append(value) }
      }
      return replies
    }
  }
}

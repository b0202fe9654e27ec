// The unix socket in the state folder on which a running agent answers `agent status`: one word and a line end in, JSON out, closed.
// Asking costs an idle agent nothing, and the answer is never old, as a status file's would be. Only its own user and root are heard.
//
// Served by the main thread between signals; a client that dawdles is cut after a second, so it holds up nothing for longer. An agent that has
// no descriptor left has a spare one for this: it is asked how it stands just then.
// A socket's path is limited to 107 bytes, a state folder's is not: both ends go by `/proc/self/fd/<folder>`.

import Glibc
import Shared

struct ControlSocket: ~Copyable {
  let descriptor: Int32
  private let path: String
  private var spare = ControlSocket.openSpare()

  /// Listens; what a dead agent left at this path is removed. Call with the folder's lock held.
  static func listen(_ settings: AgentSettings) throws(AgentFailure) -> ControlSocket {
    let path = settings.socketFile
    unlink(path)
    let (address, folder) = try ControlSocket.address(settings)
    defer { close(folder) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw .system(action: "open a socket", code: errno) }
    let isBound = with(address) { bind(descriptor, $0, $1) } == 0
    let isListening = isBound && chmod(path, 0o600) == 0 && Glibc.listen(descriptor, 16) == 0
    guard isListening else {
      let code = errno
      close(descriptor)
      throw .file(FileError("listen on", path, code: code))
    }
    return ControlSocket(descriptor: descriptor, path: path)
  }

  private init(descriptor: Int32, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  deinit {
    if spare >= 0 { close(spare) }
    close(descriptor)
    unlink(path)
  }

  private static func openSpare() -> Int32 { open("/dev/null", O_RDONLY | O_CLOEXEC) }

  /// Answers every client that waits now.
  /// - Returns: false where one that waits could not be let in: the socket stays readable, so look again after a while.
  mutating func serve(_ answer: (String) -> [UInt8]?) -> Bool {
    if spare < 0 { spare = ControlSocket.openSpare() }
    while true {
      let client = accept(descriptor, nil, nil)
      if client >= 0 {
        serve(client, answer)
        continue
      }
      switch errno {
      case EMFILE, ENFILE, ENOBUFS, ENOMEM:
        if spare >= 0 { close(spare) }
        let client = accept(descriptor, nil, nil)
        if client >= 0 { serve(client, answer) }
        spare = ControlSocket.openSpare()
        if client < 0 || spare < 0 { return false }
      // Of the one that was to be let in.
      case EINTR, ECONNABORTED: continue
      default: return true
      }
    }
  }

  private func serve(_ client: Int32, _ answer: (String) -> [UInt8]?) {
    defer { close(client) }
    // Not inherited from the listening socket, on Linux.
    _ = fcntl(client, F_SETFD, FD_CLOEXEC)
    ControlSocket.setPatience(client, .seconds(1))
    guard ControlSocket.isTrusted(client), let word = ControlSocket.line(from: client) else { return }
    if let reply = answer(word) { ControlSocket.send(reply, to: client) }
  }

  // MARK: The other end

  /// Asks the agent that runs on this state folder.
  /// - Throws: `FileError` with the errno: ECONNREFUSED and ENOENT where nobody listens, EAGAIN where no answer came in time.
  static func ask(_ word: String, _ settings: AgentSettings, patience: Duration = .seconds(3)) throws(AgentFailure) -> [UInt8] {
    let (address, folder) = try address(settings)
    defer { close(folder) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw .system(action: "open a socket", code: errno) }
    defer { close(descriptor) }
    setPatience(descriptor, patience)
    guard with(address, { connect(descriptor, $0, $1) }) == 0 else { throw .file(FileError("ask", settings.socketFile)) }
    send(Array("\(word)\n".utf8), to: descriptor)
    var reply: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count = recv(descriptor, &chunk, chunk.count, 0)
      if count == 0 { return reply }
      if count < 0 && errno == EINTR { continue }
      guard count > 0, reply.count < 1 << 20 else { throw .file(FileError("ask", settings.socketFile)) }
      reply += chunk[..<count]
    }
  }

  // MARK: Both ends

  /// The socket's address by way of the folder's descriptor, which the caller closes after use.
  private static func address(_ settings: AgentSettings) throws(AgentFailure) -> (sockaddr_un, folder: Int32) {
    let path = settings.state.path
    let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { throw .file(FileError("open", path)) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let name = "/proc/self/fd/\(folder)/agent.sock"
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name.utf8) }
    return (address, folder)
  }

  private static func with(_ address: sockaddr_un, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }

  private static func setPatience(_ descriptor: Int32, _ limit: Duration) {
    var time = timeval(tv_sec: Int(limit.components.seconds), tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
  }

  private static func isTrusted(_ client: Int32) -> Bool {
    // `struct ucred` (pid, uid, gid) is hidden behind _GNU_SOURCE.
    var credentials: (pid: Int32, uid: UInt32, gid: UInt32) = (0, .max, .max)
    var size = socklen_t(MemoryLayout.size(ofValue: credentials))
    guard getsockopt(client, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 else { return false }
    return credentials.uid == 0 || credentials.uid == geteuid()
  }

  /// At most 64 bytes up to a line end, in one packet as `ask` sends it.
  private static func line(from client: Int32) -> String? {
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = recv(client, &buffer, buffer.count, 0)
    guard count > 0, let end = buffer[..<count].firstIndex(of: 0x0A) else { return nil }
    return String(decoding: buffer[..<end], as: UTF8.self)
  }

  private static func send(_ bytes: [UInt8], to descriptor: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return }
      rest = rest.dropFirst(count)
    }
  }
}

// The helper program HTTPTestServer as a child, and what /proc says about it.

import Glibc

final class ServerProcess: Sendable {
  let pid: pid_t
  let port: Int
  private let connection: Int32

  /// - Parameter descriptors: the child's RLIMIT_NOFILE.
  init(descriptors: Int? = nil) throws {
    let program = try Self.program()
    // Closed on exec from the start: other tests start children at the same time, and one that inherited our end would keep
    // the server's input open.
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    var ends: [Int32] = [0, 0]
    guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw ClientError(description: "socketpair: errno \(errno)") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    var words = [program]
    if let descriptors { words.append("\(descriptors)") }
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var child = pid_t()
    let code = posix_spawn(&child, program, &actions, nil, &arguments, environ)
    close(ends[1])
    connection = ends[0]
    pid = child
    guard code == 0 else {
      port = 0
      throw ClientError(description: "posix_spawn \(program): errno \(code)")
    }
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while read(connection, &byte, 1) == 1, byte != 10 { line.append(byte) }
    port = Int(String(decoding: line, as: UTF8.self).dropFirst(5)) ?? 0
    guard port > 0 else { throw ClientError(description: "the helper said \(String(decoding: line, as: UTF8.self))") }
  }

  /// Ends the child's input and returns its exit status. Blocks until it has ended, as `init` does until it serves.
  func stop() -> Int32 {
    close(connection)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    return status
  }

  var openDescriptors: Int {
    guard let folder = opendir("/proc/\(pid)/fd") else { return -1 }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    return count - 2
  }

  /// Anonymous resident memory in bytes.
  var memory: Int {
    guard let file = fopen("/proc/\(pid)/status", "r") else { return -1 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, 256, file) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if text.hasPrefix("RssAnon:") { return (Int(text.filter(\.isNumber)) ?? 0) * 1024 }
    }
    return -1
  }

  /// Beside the test program, where both are built.
  private static func program() throws -> String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count)
    guard count > 0 else { throw ClientError(description: "readlink: errno \(errno)") }
    let own = String(decoding: path[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let candidates = [own, CommandLine.arguments.first ?? ""] + CommandLine.arguments
    for candidate in candidates {
      let folder = candidate.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
      if access(folder + "/HTTPTestServer", X_OK) == 0 { return folder + "/HTTPTestServer" }
    }
    throw ClientError(description: "HTTPTestServer is not beside \(own)")
  }
}

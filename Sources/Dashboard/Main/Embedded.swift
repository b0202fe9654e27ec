// The pages and migrations that are compiled in (Plugins/Embed), and what every page is served with.
import Glibc
import HTTP
import HTTPTypes
import Shared

enum Embedded {
  static func migrations() throws -> [Migration] {
    try EmbeddedResources.migrations.sorted { $0.path < $1.path }.map { file in
      Migration(name: String(file.path.prefix { $0 != "." }), sql: String(decoding: try bytes(file), as: UTF8.self))
    }
  }

  /// The built-in pages, or a folder while somebody works on them.
  static func files(folder: String?) throws -> StaticFiles {
    if let folder {
      var status = stat()
      guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
        throw StartFault("--public \(folder): there is no such folder")
      }
      return StaticFiles(root: folder, headers: headers)
    }
    return StaticFiles(
      embedded: try EmbeddedResources.pages.map { EmbeddedFile(path: $0.path, bytes: try bytes($0)) }, headers: headers)
  }

  /// No other origin, no inline code, no frame (DESIGN section 6).
  private static let headers: HTTPFields = {
    var fields = HTTPFields()
    let names: [(String, String)] = [
      (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
      ),
      ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
    ]
    for (name, value) in names { if let name = HTTPField.Name(name) { fields[name] = value } }
    return fields
  }()

  private static func bytes(_ file: (path: String, base64: String)) throws -> [UInt8] {
    guard let bytes = Base64.decode(file.base64) else { throw StartFault("the program is damaged: \(file.path)") }
    return bytes
  }
}

extension ServerLimits {
  init(_ settings: HTTPLimitSettings) {
    self.init()
    requestLine = settings.requestLine
    head = settings.head
    fields = settings.fields
    body = settings.body
    headTimeout = settings.headTimeout
    bodyIdle = settings.bodyIdle
    idle = settings.idle
    writeStall = settings.writeStall
    connections = settings.connections
    // The program has to end within 10 s, the embedded Redis included.
    drain = .seconds(3)
  }
}

// Files, compiled in and from a folder, and every way we know to get out of it.

import Glibc
import HTTPTypes
import Testing

@testable import HTTP

/// A folder with a secret beside it; removed at the end.
private final class Tree: Sendable {
  let base: String
  var root: String { base + "/root" }

  init() throws {
    var template = Array("/tmp/muster-http-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw ClientError(description: "mkdtemp: errno \(errno)") }
    base = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    for folder in ["root", "root/js", "root/deep", "root/deep/er"] { mkdir(base + "/" + folder, 0o755) }
    try write("secret", "secret")
    try write("root/index.html", "<h1>hello</h1>")
    try write("root/js/app.js", "let x")
    try write("root/deep/er/ü b.txt", "deep")
    try write("root/.hidden", "secret")
    symlink("../secret", root + "/link")
    symlink("../..", root + "/up")
    symlink("js", root + "/inside")
    symlink("/etc", root + "/etc")
    mkfifo(root + "/pipe", 0o644)
  }

  func write(_ path: String, _ text: String) throws {
    let file = open(base + "/" + path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard file >= 0 else { throw ClientError(description: "open: errno \(errno)") }
    _ = Array(text.utf8).withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
    close(file)
  }

  deinit {
    for path in ["secret", "root/index.html", "root/js/app.js", "root/deep/er/ü b.txt", "root/.hidden"] {
      unlink(base + "/" + path)
    }
    for path in ["link", "up", "inside", "etc", "pipe"] { unlink(root + "/" + path) }
    for folder in ["root/deep/er", "root/deep", "root/js", "root", ""] { rmdir(base + "/" + folder) }
  }
}

private let embedded = StaticFiles(
  embedded: [
    EmbeddedFile(path: "index.html", bytes: Array("<h1>hello</h1>".utf8)),
    EmbeddedFile(path: "js/app.js", bytes: Array("let x".utf8)),
    EmbeddedFile(path: "deep/er/ü b.txt", bytes: Array("deep".utf8)),
  ], headers: [.contentSecurityPolicy: "default-src 'self'"])

@Suite struct StaticFilesTests {
  @Test(arguments: [true, false])
  func filesHaveTheirTypeAndAreNotSentTwice(fromFolder: Bool) async throws {
    let tree = try Tree()
    let files = fromFolder ? StaticFiles(root: tree.root, headers: [.contentSecurityPolicy: "default-src 'self'"]) : embedded
    let router = Router([], fallback: files.handler())
    for (path, type, text) in [
      ("/", "text/html; charset=utf-8", "<h1>hello</h1>"), ("/index.html", "text/html; charset=utf-8", "<h1>hello</h1>"),
      ("/js/app.js", "text/javascript; charset=utf-8", "let x"), ("/deep/er/%C3%BC%20b.txt", "text/plain; charset=utf-8", "deep"),
      ("/js/app.js?v=1", "text/javascript; charset=utf-8", "let x"),
    ] {
      let response = await router.respond(to: try Request(.get, path))
      #expect(response.status == .ok, "\(path)")
      #expect(response.headers[.contentType] == type)
      #expect(response.headers[.contentSecurityPolicy] == "default-src 'self'")
      #expect(response.headers[.xContentTypeOptions] == "nosniff")
      guard case .bytes(let bytes) = response.body else {
        Issue.record("no bytes")
        return
      }
      #expect(String(decoding: bytes, as: UTF8.self) == text)
      let etag = try #require(response.headers[.eTag])
      for known in [etag, "W/" + etag, "\"x\", \(etag)", "*"] {
        let again = await router.respond(to: try Request(.get, path, headers: [.ifNoneMatch: known]))
        #expect(again.status == .notModified)
        #expect(again.headers[.eTag] == etag)
        guard case .empty = again.body else {
          Issue.record("a body with 304")
          return
        }
      }
      let other = await router.respond(to: try Request(.get, path, headers: [.ifNoneMatch: "\"other\""]))
      #expect(other.status == .ok)
    }
    let post = await router.respond(to: try Request(.post, "/js/app.js"))
    #expect(post.status == .methodNotAllowed)
    #expect(post.headers[.allow] == "GET, HEAD")
    #expect(await router.respond(to: try Request(.post, "/nothing")).status == .notFound)
  }

  @Test(arguments: [
    "/secret", "/../secret", "/js/../../secret", "/%2e%2e/secret", "/%2E%2E%2Fsecret", "/..%2fsecret", "/js/%2e%2e/%2e%2e/secret",
    "/js/..%5c..%5csecret", "/%5c..%5csecret", "/link", "/up/secret", "/up", "/inside/app.js", "/etc/passwd", "//etc/passwd",
    "/%2fetc%2fpasswd", "/.hidden", "/./index.html", "/js", "/js/", "/js//app.js", "/index.html/", "/pipe", "/index.html%20",
    "/...", "/js/.../app.js", "/deep", "/deep/er/nothing", "http://a/../secret",
  ])
  func noPathLeavesTheRoot(_ path: String) async throws {
    let tree = try Tree()
    for files in [StaticFiles(root: tree.root), embedded] {
      let response = await Router([], fallback: files.handler()).respond(to: try Request(.get, path))
      #expect(response.status == .notFound)
    }
  }

  @Test func aChangedFileHasANewTag() async throws {
    let tree = try Tree()
    let router = Router([], fallback: StaticFiles(root: tree.root).handler())
    let before = await router.respond(to: try Request(.get, "/js/app.js"))
    try tree.write("root/js/app.js", "let y = 1")
    let after = await router.respond(to: try Request(.get, "/js/app.js", headers: [.ifNoneMatch: before.headers[.eTag] ?? ""]))
    #expect(after.status == .ok)
    #expect(after.headers[.eTag] != before.headers[.eTag])
  }

  @Test func filesAreTheFallbackOfRoutes() async throws {
    let router = Router([Route(.get, "/v1/x", .immediate { _, _ in .text("x") })], fallback: embedded.handler())
    try await withServer([Route(.get, "/v1/x", .immediate { _, _ in .text("x") })], fallback: embedded.handler()) { server in
      let port = server.port
      try await onThread {
        let client = try Client(port: port)
        #expect(try client.get("/v1/x").text == "x")
        #expect(try client.get("/").text == "<h1>hello</h1>")
        try client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.reply(head: true).fields["content-length"] == "14")
        #expect(try client.get("/v1/y").status == 404)
      }
    }
    #expect(await router.respond(to: try Request(.get, "/v1/y")).status == .notFound)
  }
}

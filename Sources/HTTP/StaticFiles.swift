// Files for browsers: compiled in, or from a folder while somebody works on them.
//
// Both answer GET and HEAD with an ETag and obey If-None-Match; browsers ask again each time (`no-cache`), so an upgrade is
// seen at once. A path that ends in a slash is its `index.html`. What may be served at all is decided segment by segment,
// after decoding, in `safeSegments`; the folder adds that no symbolic link is followed (+Folder).

import HTTPTypes

/// A file that is part of the program.
public struct EmbeddedFile: Sendable {
  let path: String
  let bytes: [UInt8]
  let contentType: String
  let etag: String

  /// - Parameters:
  ///   - path: below the root, without a leading slash, as in `js/app.js`.
  ///   - contentType: by the name's ending where it is left out.
  ///   - etag: without quotes; made from the bytes where it is left out.
  public init(path: String, bytes: [UInt8], contentType: String? = nil, etag: String? = nil) {
    self.path = path
    self.bytes = bytes
    self.contentType = contentType ?? ContentType.of(path)
    self.etag = "\"\(etag ?? Self.hash(bytes))\""
  }

  /// FNV-1a, 64 bits, and the length: tells versions of a file apart; nobody attacks their own files.
  private static func hash(_ bytes: [UInt8]) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    return String(hash, radix: 16) + "-" + String(bytes.count, radix: 16)
  }
}

/// Serves files as a router's fallback.
public struct StaticFiles: Sendable {
  enum Source: Sendable {
    case embedded([String: EmbeddedFile])
    case folder(String)
  }

  private let source: Source
  private let headers: HTTPFields

  /// Serves compiled-in files.
  /// - Parameter headers: added to every file's answer, as a content security policy.
  public init(embedded files: [EmbeddedFile], headers: HTTPFields = [:]) {
    source = .embedded(Dictionary(files.map { ($0.path, $0) }) { _, last in last })
    self.headers = headers
  }

  /// Serves the folder at `root`, which is looked up anew for each request. Neither symbolic links nor names that begin with
  /// a dot are served, and no file above 16 MiB.
  public init(root: String, headers: HTTPFields = [:]) {
    source = .folder(root)
    self.headers = headers
  }

  /// Throws `HTTPFault` 404 for what is not there and 405 for other methods than GET and HEAD.
  public func handler() -> Handler {
    // Immediate: compiled-in files are in memory, and a folder is served to the few who work on it.
    .immediate { request, _ in try answer(request) }
  }

  private func answer(_ request: Request) throws(HTTPFault) -> Response {
    guard let segments = Self.safeSegments(request.path), let file = load(segments) else { throw .notFound }
    guard request.method == .get || request.method == .head else {
      throw HTTPFault(.methodNotAllowed, "A file has GET, HEAD only.", allow: [.get, .head])
    }
    var response = Response(headers: headers)
    response.headers[.eTag] = file.etag
    if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-cache" }
    if Self.isCurrent(file.etag, for: request.headers[.ifNoneMatch]) {
      response.status = .notModified
      return response
    }
    response.headers[.contentType] = file.contentType
    response.headers[.xContentTypeOptions] = "nosniff"
    response.body = .bytes(file.bytes)
    return response
  }

  private func load(_ segments: [String]) -> EmbeddedFile? {
    switch source {
    case .embedded(let files): files[segments.joined(separator: "/")]
    case .folder(let root): FolderFile.load(segments, below: root)
    }
  }

  /// The file's segments, or nil where one of them could lead anywhere but down: empty, beginning with a dot, holding a slash,
  /// a backslash or a NUL.
  static func safeSegments(_ path: [String]) -> [String]? {
    var segments = path
    if segments.last == "" { segments[segments.count - 1] = "index.html" }
    let safe = segments.allSatisfy { segment in
      let bytes = segment.utf8
      return !bytes.isEmpty && bytes.first != UInt8(ascii: ".")
        && !bytes.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") || $0 == 0 }
    }
    return safe && !segments.isEmpty ? segments : nil
  }

  /// If-None-Match (RFC 9110, 13.1.2): a star, or a list of tags of which one is ours; weak ones compare equal too.
  static func isCurrent(_ etag: String, for field: String?) -> Bool {
    guard let field else { return false }
    return field.split(separator: ",").contains { part in
      let tag = part.drop { $0 == " " || $0 == "\t" }.prefix { $0 != " " && $0 != "\t" }
      return tag == "*" || tag == etag || (tag.hasPrefix("W/") && tag.dropFirst(2) == etag)
    }
  }
}

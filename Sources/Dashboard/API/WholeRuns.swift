// The answer of `?wait`: whole runs, each with the first bytes of its log. Many of them are written piece by piece, so that ten thousand
// hosts need no memory to speak of.

import HTTP
import HTTPTypes
import Shared

struct WholeRuns: Sendable {
  let services: APIServices

  /// Bytes of log with each run.
  static let logBytes = 64 * 1024
  private static let batch = 32

  func answer(_ task: ULID, auuid: String, count: Int, ended: Bool) async throws -> Response {
    let status: HTTPResponse.Status = ended ? .ok : .accepted
    let head = "{\"auuid\":\"\(auuid)\",\"task\":\"\(task)\",\"runs\":["
    if count <= Self.batch {
      var bytes = Array(head.utf8)
      bytes += try await runs(task, after: "").bytes
      bytes += Array("]}".utf8)
      return .json(bytes, status: status)
    }
    return Response(
      status: status, headers: [.contentType: "application/json"],
      body: .stream(length: nil) { writer in
        try await writer.write(head)
        var after = ""
        while true {
          let page = try await runs(task, after: after)
          guard let last = page.last else { break }
          try await writer.write((after.isEmpty ? [] : [UInt8(ascii: ",")]) + page.bytes)
          after = last
        }
        try await writer.write("]}")
      })
  }

  /// Some runs as JSON objects with commas between them, and the last one's uuid; nil where there is none.
  private func runs(_ task: ULID, after: String) async throws -> (bytes: [UInt8], last: String?) {
    try await services.store.read { db in
      let runs = try RunQueries.ofTask(db, task, after: after, limit: Self.batch)
      var body = JSONBody()
      for run in runs {
        let attempts = try AttemptQueries.all(db, run)
        let shown = try AttemptQueries.newestStarted(db, run).attempt
        let (bytes, cut) = try OutputQueries.head(db, run: run.row, attempt: shown, limit: Self.logBytes)
        body.object { run.write(to: &$0, attempts: attempts, log: EncodedLog(bytes, cut: cut)) }
      }
      return (body.bytes, runs.last?.id.agent.text)
    }
  }
}

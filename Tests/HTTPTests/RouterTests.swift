// Which route answers which path.

import HTTPTypes
import Testing

@testable import HTTP

private func named(_ name: String, _ keys: String...) -> Handler {
  .immediate { _, parameters in .text(([name] + keys.map { "\($0)=\(parameters[$0])" }).joined(separator: " ")) }
}

private let router = Router([
  Route(.get, "/", named("root")),
  Route(.get, "/v1/tasks", named("tasks")),
  Route(.get, "/v1/tasks/:task", named("task", "task")),
  Route(.get, "/v1/runs/:auuid/log", named("log", "auuid")),
  Route(.post, "/v1/producer/:target/task", named("post", "target")),
  Route(.post, "/v1/producer/uuid/task", named("literal")),
  Route(.get, "/v1/producer/:project/:auuid/log", named("producer log", "project", "auuid")),
  Route(.get, "/v1/agent/version", named("version")),
  Route(.get, "/v1/agent/:auuid/log", named("agent log", "auuid")),
  Route(.put, "/v1/thing", named("put")),
  Route(.delete, "/v1/thing", named("delete")),
  Route(.head, "/own", named("own head")),
  Route(.get, "/own", named("own get")),
])

private func ask(_ method: HTTPRequest.Method, _ path: String) async throws -> String {
  let response = await router.respond(to: try Request(method, path))
  guard response.status == .ok, case .bytes(let bytes) = response.body else {
    return ["\(response.status.code)", response.headers[.allow]].compactMap { $0 }.joined(separator: " ")
  }
  return String(decoding: bytes, as: UTF8.self)
}

@Suite struct RouterTests {
  @Test(arguments: [
    ("/", "root"), ("/v1/tasks", "tasks"), ("/v1/tasks?limit=1", "tasks"), ("/v1/tasks/7", "task task=7"),
    ("/v1/tasks/", "404"), ("/v1/tasks/a/b", "404"), ("/v1", "404"), ("", "404"), ("/v1/runs//log", "404"),
    ("/v1/runs/a%2Fb%20c/log", "log auuid=a/b c"), ("/v1/%72uns/x/log", "log auuid=x"), ("/v1/runs/%C3%BC/log", "log auuid=ü"),
    ("/v1/producer/p/r/log", "producer log project=p auuid=r"), ("/v1/producer/uuid/r/log", "producer log project=uuid auuid=r"),
    ("/v1/agent/version", "version"), ("/v1/agent/version/log", "agent log auuid=version"), ("/own", "own get"),
    ("http://host/v1/tasks", "tasks"), ("http://host", "root"), ("http://host?x", "root"), ("/V1/tasks", "404"),
  ])
  func aPathLeadsToItsRoute(_ path: String, _ expected: String) async throws {
    if path.isEmpty {
      await #expect(throws: HTTPFault.self) { try await ask(.get, path) }
    } else {
      #expect(try await ask(.get, path) == expected)
    }
  }

  @Test func literalsWinAndNamesAreTheSecondTry() async throws {
    #expect(try await ask(.post, "/v1/producer/uuid/task") == "literal")
    #expect(try await ask(.post, "/v1/producer/web/task") == "post target=web")
  }

  @Test func aKnownPathWithAnotherMethodSaysWhatItHas() async throws {
    #expect(try await ask(.post, "/v1/tasks") == "405 GET, HEAD")
    #expect(try await ask(.get, "/v1/thing") == "405 PUT, DELETE")
    #expect(try await ask(.get, "/v1/producer/x/task") == "405 POST")
    #expect(try await ask(.options, "/v1/thing") == "405 PUT, DELETE")
    #expect(try await ask(.head, "/v1/thing") == "405 PUT, DELETE")
  }

  @Test func headIsGetUnlessThereIsItsOwnRoute() async throws {
    #expect(try await ask(.head, "/v1/tasks") == "tasks")
    #expect(try await ask(.head, "/own") == "own head")
  }

  @Test func faultsAndErrorsAreWordedByTheRouter() async throws {
    let worded = Router(
      [Route(.get, "/throws", .waiting { _, _ in throw ClientError(description: "x") })],
      render: { fault, request in .text("fault \(fault.status.code) \(request?.target ?? "-")", status: fault.status) },
      renderError: { error, request in .text("error \(error) \(request.target)", status: .badGateway) })
    let missing = await worded.respond(to: try Request(.get, "/a"))
    let broken = await worded.respond(to: try Request(.get, "/throws"))
    guard case .bytes(let first) = missing.body, case .bytes(let second) = broken.body else {
      Issue.record("no bodies")
      return
    }
    #expect(String(decoding: first, as: UTF8.self) == "fault 404 /a")
    #expect(String(decoding: second, as: UTF8.self) == "error x /throws")
    #expect(broken.status == .badGateway)
  }
}

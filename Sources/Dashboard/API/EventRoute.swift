// `GET /v1/events`: one stream of server-sent events per open page, shared by its views.
//
// `overview`: the counters, at the start and whenever they change. `runs`: `{"items":[{"auuid","task","uuid","state"}],"missed"}`, what
// changed since the last one (`state` is null where only output came). `agents`: `{"online":[…],"offline":[…],"missed"}`, who came and went.
// `missed`: more happened than fits, so ask again for what is shown. Nothing is replayed: after a reconnect a page asks again as well.

import HTTP
import Shared

struct EventRoute: Sendable {
  let services: APIServices
  let overview: Overview

  /// News are gathered this long, so that a busy fleet costs a page a few events a second and no more.
  private static let pace: Duration = .milliseconds(400)
  private static let quiet: Duration = .seconds(5)
  private static let itemsAtOnce = 500

  func answer(_ request: Request) throws -> Response {
    try request.allow()
    return .eventStream { events in
      let news = services.watch.subscribeAll()
      defer { news.cancel() }
      try await events.retry(after: .seconds(2))
      var shown: Overview.Counts?
      var online = services.online()
      while true {
        let counts = try await overview.counts()
        if counts != shown {
          shown = counts
          try await events.send(event: "overview", data: Self.text { counts.write(to: &$0) })
        }
        let now = services.online()
        if now != online {
          try await events.send(event: "agents", data: Self.text { Self.write(now, before: online, to: &$0) })
          online = now
        }
        let batch = try await news.next(until: .now + Self.quiet)
        if batch.isEmpty {
          try await events.comment("still here")
          continue
        }
        try await events.send(event: "runs", data: Self.text { Self.write(batch, to: &$0) })
        // A page is told of bursts together, not of each run.
        try await Task.sleep(for: Self.pace)
      }
    }
  }

  private static func write(_ batch: Subscription.Batch, to body: inout JSONBody) {
    let runs =
      batch.states.map { ($0.key, Optional($0.value)) } + batch.grown.filter { batch.states[$0] == nil }.map { ($0, nil) }
    body.list("items", runs.prefix(itemsAtOnce)) { body, item in
      body.object {
        $0.field("auuid", item.0.description)
        $0.field("task", item.0.task.description)
        $0.field("uuid", item.0.agent.text)
        $0.field("state", item.1?.rawValue)
      }
    }
    body.field("missed", batch.missedSome || runs.count > itemsAtOnce)
  }

  private static func write(_ now: Set<AgentID>, before: Set<AgentID>, to body: inout JSONBody) {
    let (came, went) = (now.subtracting(before), before.subtracting(now))
    body.list("online", came.prefix(itemsAtOnce)) { $0.element($1.text) }
    body.list("offline", went.prefix(itemsAtOnce)) { $0.element($1.text) }
    body.field("missed", max(came.count, went.count) > itemsAtOnce)
  }

  private static func text(_ fields: (inout JSONBody) -> Void) -> String {
    String(decoding: JSONBody.object(fields), as: UTF8.self)
  }
}

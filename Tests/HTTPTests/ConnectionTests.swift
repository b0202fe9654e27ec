// One connection after another on a live server: framing, order, keep-alive, and what closes it.

import HTTPTypes
import Testing

@testable import HTTP

private let routes: [Route] = [
  Route(.get, "/now", .immediate { _, _ in .text("now") }),
  Route(.get, "/later", .waiting { _, _ in .text("later") }),
  Route(.get, "/number/:n", .immediate { _, parameters in .text(parameters["n"]) }),
  Route(.get, "/waiting/:n", .waiting { _, parameters in .text(parameters["n"]) }),
  Route(.post, "/echo", .waiting { request, _ in Response(contentType: "x/y", bytes: request.body) }),
  Route(.post, "/echo-now", .immediate { request, _ in Response(contentType: "x/y", bytes: request.body) }),
  Route(
    .get, "/stream",
    .waiting { _, _ in
      Response(body: .stream(length: nil) { writer in for n in 0..<3 { try await writer.write("part \(n)\n") } })
    }),
  Route(.get, "/sized", .immediate { _, _ in Response(body: .stream(length: 4) { try await $0.write("four") }) }),
  Route(.get, "/short", .immediate { _, _ in Response(body: .stream(length: 9) { try await $0.write("four") }) }),
  Route(.get, "/nothing", .immediate { _, _ in Response(status: .noContent) }),
  Route(.get, "/close", .immediate { _, _ in Response(headers: [.connection: "close"], body: .bytes([65])) }),
  Route(
    .get, "/lies",
    .immediate { _, _ in
      Response(headers: [.contentLength: "99", .transferEncoding: "gzip", .server: "a\r\nb"], body: .bytes([65]))
    }),
  Route(.get, "/large", .immediate { _, _ in Response(contentType: "x/y", bytes: [UInt8](repeating: 7, count: 3_000_000)) }),
  Route(.get, "/fault", .immediate { _, _ in throw HTTPFault(.conflict, "It is taken.") }),
  Route(.get, "/error", .waiting { _, _ in throw ClientError(description: "inner") }),
  Route(.get, "/peer", .immediate { request, _ in .text(request.peer) }),
]

private func onConnection<R: Sendable>(_ body: @escaping @Sendable (Client) throws -> R) async throws -> R {
  try await withServer(routes) { server in
    let port = server.port
    return try await onThread { try body(try Client(port: port)) }
  }
}

@Suite struct ConnectionTests {
  @Test func requestsOnOneConnectionAreAnsweredOneByOne() async throws {
    try await onConnection { client in
      for path in ["/now", "/later", "/now", "/later"] {
        let reply = try client.get(path)
        #expect(reply.status == 200)
        #expect(reply.text == path.dropFirst())
        #expect(reply.fields["connection"] == nil)
        #expect(reply.fields["date"]?.hasSuffix("GMT") == true)
      }
      #expect(try client.get("/peer").text.hasPrefix("127.0.0.1:"))
    }
  }

  @Test func pipelinedRequestsAreAnsweredInOrderWhoeverAnswersThem() async throws {
    try await onConnection { client in
      let paths = (0..<600).map { $0 % 3 == 1 ? "/waiting/\($0)" : "/number/\($0)" }
      try client.send(paths.map { "GET \($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined())
      for number in 0..<600 { #expect(try client.reply().text == "\(number)") }
    }
  }

  @Test func aHundredPipelinedImmediateAnswersLeaveInOneWrite() async throws {
    try await onConnection { client in
      let request = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n"
      try client.send(request)
      let one = try client.nextBytes().count
      try client.send(String(repeating: request, count: 100))
      // What one write sent can be read with one read.
      #expect(try client.nextBytes().count == 100 * one)
    }
  }

  @Test func bodiesOfBothFramingsComeBackWhole() async throws {
    try await onConnection { client in
      for path in ["/echo", "/echo-now"] {
        for size in [0, 1, 5000, 200_000, 1 << 20] {
          let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
          try client.send("POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
          try client.send(body)
          #expect(try client.reply().body == body)
          try client.send("POST \(path) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
          for start in stride(from: 0, to: size, by: 70_000) {
            let chunk = body[start..<min(start + 70_000, size)]
            try client.send("\(String(chunk.count, radix: 16))\r\n")
            try client.send(Array(chunk))
            try client.send("\r\n")
          }
          try client.send("0\r\nTrailer: x\r\n\r\n")
          #expect(try client.reply().body == body)
        }
      }
    }
  }

  @Test func headHasTheFieldsOfGetAndNoBody() async throws {
    try await onConnection { client in
      for path in ["/now", "/later", "/large", "/stream", "/sized"] {
        try client.send("HEAD \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
        let head = try client.reply(head: true)
        let get = try client.get(path)
        #expect(head.status == get.status)
        #expect(head.fields["content-length"] == get.fields["content-length"])
        #expect(head.fields["transfer-encoding"] == get.fields["transfer-encoding"])
      }
    }
  }

  @Test func aBodyThatIsWaitedForIsAskedFor() async throws {
    try await onConnection { client in
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
      #expect(try client.reply().status == 100)
      try client.send("body")
      #expect(try client.reply().text == "body")
    }
  }

  @Test func aRefusedExpectationIsAnsweredWithoutItsBody() async throws {
    try await onConnection { client in
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n")
      #expect(try client.reply().status == 413)
      #expect(try client.endsSilently())
    }
  }

  @Test func http10ClosesUnlessAskedNotTo() async throws {
    try await withServer(routes) { server in
      let port = server.port
      try await onThread {
        let closing = try Client(port: port)
        try closing.send("GET /now HTTP/1.0\r\n\r\n")
        let reply = try closing.reply()
        #expect(reply.fields["connection"] == "close")
        #expect(reply.text == "now")
        #expect(try closing.endsSilently())

        let staying = try Client(port: port)
        for _ in 0..<2 {
          try staying.send("GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
          #expect(try staying.reply().fields["connection"] == "keep-alive")
        }
        // Without a length the end of the connection is the end of the body.
        try staying.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        let stream = try staying.reply()
        #expect(stream.fields["transfer-encoding"] == nil)
        #expect(stream.text == "part 0\npart 1\npart 2\n")
      }
    }
  }

  @Test func streamsAreChunkedOrAsLongAsTheySay() async throws {
    try await onConnection { client in
      #expect(try client.get("/stream").text == "part 0\npart 1\npart 2\n")
      let sized = try client.get("/sized")
      #expect(sized.fields["content-length"] == "4")
      #expect(sized.text == "four")
      #expect(throws: ClientError.self) { try client.get("/short") }
    }
  }

  @Test func theServerOwnsTheFramingFields() async throws {
    try await onConnection { client in
      let reply = try client.get("/lies")
      #expect(reply.fields["content-length"] == "1")
      #expect(reply.fields["transfer-encoding"] == nil)
      #expect(reply.fields["b"] == nil)
      let nothing = try client.get("/nothing")
      #expect(nothing.status == 204)
      #expect(nothing.fields["content-length"] == nil)
      #expect(try client.get("/large").body == [UInt8](repeating: 7, count: 3_000_000))
      #expect(try client.get("/close").fields["connection"] == "close")
      #expect(try client.endsSilently())
    }
  }

  @Test func whatAHandlerThrowsIsAnswered() async throws {
    try await onConnection { client in
      let fault = try client.get("/fault")
      #expect(fault.status == 409)
      #expect(fault.text == "It is taken.\n")
      let error = try client.get("/error")
      #expect(error.status == 500)
      #expect(!error.text.contains("inner"))
      #expect(try client.get("/nowhere").status == 404)
      try client.send("POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
      let wrong = try client.reply()
      #expect(wrong.status == 405)
      #expect(wrong.fields["allow"] == "GET, HEAD")
      #expect(try client.get("/now").status == 200)
    }
  }

  @Test func everyMalformedRequestIsAnsweredAndThenTheConnectionCloses() async throws {
    try await withServer(routes) { server in
      let port = server.port
      try await onThread {
        for request in ParserCorpus.malformed {
          let client = try Client(port: port)
          // A good request before it is answered first; what follows the bad one is not.
          try client.send("GET /now HTTP/1.1\r\nHost: a\r\n\r\n")
          try client.send(request.bytes + Array("GET /now HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
          #expect(try client.reply().status == 200)
          let reply = try client.reply()
          #expect(reply.status == request.status, "\(request.testDescription)")
          #expect(reply.fields["connection"] == "close")
          #expect(!reply.body.isEmpty)
          #expect(try client.endsSilently())
        }
      }
    }
  }

  @Test func anErrorCanBeReadEvenWhenMuchMoreWasSent() async throws {
    try await onConnection { client in
      // Far more than the sockets hold: without a lingering close the reset would overtake the answer.
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n")
      let block = [UInt8](repeating: 65, count: 1 << 20)
      for _ in 0..<28 { try client.send(block) }
      #expect(try client.reply().status == 413)
    }
  }

  @Test func aClientThatClosesItsSendingSideStillGetsItsAnswer() async throws {
    try await withServer(routes) { server in
      let port = server.port
      try await onThread {
        for path in ["/now", "/later", "/stream"] {
          let client = try Client(port: port)
          try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
          client.shutdownSending()
          #expect(try client.reply().status == 200)
          #expect(try client.endsSilently())
        }
      }
    }
  }
}

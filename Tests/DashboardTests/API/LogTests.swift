// Logs: JSON and plain bytes, ranges, streams, tasks, names.

import Shared
import Testing

@testable import Dashboard

@Suite struct LogTests {
  @Test func aLogIsThereFromTheMomentOfAcceptance() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne("web1", #"{"taskname":"echo hi"}"#)
      let empty = try await scene.json("/v1/producer/web1/\(auuid)/log")
      #expect(
        empty == [
          "uuid": "web1", "taskname": "echo hi", "log": "", "encoding": "utf-8", "state": "queued", "auuid": .string(auuid),
          "droppedBytes": 0,
        ])
      try await scene.output(auuid, "hi\n")
      try await scene.move(auuid, to: .succeeded, exitCode: 0)
      let log = try await scene.json("/v1/runs/\(auuid)/log")
      #expect(log["log"] == "hi\n" && log["state"] == "succeeded")
    }
  }

  @Test func theFirstSegmentIsAnyProjectOfTheAgent() async throws {
    try await withScene { scene in
      try await scene.know("web1", projects: ["web", "blue"])
      let auuid = try await scene.postOne("web1")
      // Redis knows more: members that were put there by hand.
      scene.script.withLock { $0.projects = ["byhand": ["web0", "web1"], "green": ["web2"]] }
      for segment in ["web1", "project", "web", "blue", "byhand"] {
        _ = try await scene.json("/v1/producer/\(segment)/\(auuid)/log")
      }
      for segment in ["web2", "green", "uuid"] {
        let answer = try await scene.get("/v1/producer/\(segment)/\(auuid)/log")
        #expect(answer.status == 404 && answer.code == "unknown_run")
      }
      #expect(try await scene.get("/v1/producer/web1/web1-01ARZ3NDEKTSV4RRFFQ69G5FAV/log").code == "unknown_run")
    }
  }

  @Test func aTasksLogHasOneObjectPerRun() async throws {
    try await withScene { scene in
      let task = try await scene.post("web", #"{"taskname":"hostname"}"#)
      let auuid = try #require(task["auuid"]?.asString)
      for run in task["runs"]?.asArray ?? [] {
        try await scene.output(try #require(run["auuid"]?.asString), "I am \(run["uuid"]?.asString ?? "")\n")
      }
      for segment in ["web", "project"] {
        let log = try await scene.json("/v1/producer/\(segment)/\(auuid)/log")
        #expect(log.asObject?.keys == ["auuid", "taskname", "runs"])
        #expect(log["taskname"] == "hostname")
        #expect(log["runs"]?.asArray?.map { $0["log"] } == ["I am web1\n", "I am web2\n"])
        #expect(log["runs"]?.asArray?.map { $0["uuid"] } == ["web1", "web2"])
      }
      #expect(try await scene.get("/v1/producer/web1/\(auuid)/log").status == 404)
      let text = try await scene.get("/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain"])
      #expect(text.text == "==> web1 <==\nI am web1\n\n==> web2 <==\nI am web2\n")
      let follow = try await scene.get("/v1/runs/\(auuid)/log?follow=1")
      #expect(follow.status == 400 && follow.code == "bad_field")
    }
  }

  @Test func bytesThatAreNoTextComeAsBase64() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      let bytes: [UInt8] = [0, 255, 27, 91, 10, 0]
      try await scene.output(auuid, [(.stdout, bytes)])
      let log = try await scene.json("/v1/runs/\(auuid)/log")
      #expect(log["encoding"] == "base64" && log["log"] == .string(Base64.encode(bytes)))
      let plain = try await scene.get("/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain"])
      #expect(plain.body == bytes && plain.headers["x-content-type-options"] == "nosniff")
    }
  }

  @Test func oneStreamCanBeHadAlone() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.output(auuid, [(.stdout, Array("a1".utf8)), (.stderr, Array("E1".utf8)), (.stdout, Array("a2".utf8))])
      try await scene.output(auuid, [(.stderr, Array("E2".utf8))])
      try await scene.output(auuid, [(.stdout, Array("a3".utf8))])
      #expect(try await scene.json("/v1/runs/\(auuid)/log")["log"] == "a1E1a2E2a3")
      #expect(try await scene.json("/v1/runs/\(auuid)/log?stream=stdout")["log"] == "a1a2a3")
      #expect(try await scene.json("/v1/runs/\(auuid)/log?stream=stderr")["log"] == "E1E2")
      let part = try await scene.get(
        "/v1/runs/\(auuid)/log?stream=stdout", headers: ["Accept": "text/plain", "Range": "bytes=1-4"])
      #expect(part.status == 206 && part.text == "1a2a" && part.headers["content-range"] == "bytes 1-4/6")
      #expect(try await scene.get("/v1/runs/\(auuid)/log?stream=both").code == "bad_field")
    }
  }

  /// Range, status, Content-Range, body (of a 416: an error); the log is "0123456789" in three pieces.
  @Test(arguments: [
    ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
    ("bytes=3-", 206, "bytes 3-9/10", "3456789"),
    ("bytes=-4", 206, "bytes 6-9/10", "6789"),
    ("bytes=-99", 206, "bytes 0-9/10", "0123456789"),
    ("bytes=9-99", 206, "bytes 9-9/10", "9"),
    ("bytes=8-9223372036854775807", 206, "bytes 8-9/10", "89"),
    ("bytes=9223372036854775807-", 416, "bytes */10", ""),
    ("bytes=-9223372036854775807", 206, "bytes 0-9/10", "0123456789"),
    ("bytes=0-9223372036854775808", 200, nil, "0123456789"),
    ("bytes=2-2", 206, "bytes 2-2/10", "2"),
    ("bytes=10-", 416, "bytes */10", ""),
    ("bytes=-0", 416, "bytes */10", ""),
    ("bytes=5-2", 200, nil, "0123456789"),
    ("bytes=0-1,3-4", 200, nil, "0123456789"),
    ("lines=0-1", 200, nil, "0123456789"),
    ("bytes=x-", 200, nil, "0123456789"),
    ("bytes=", 200, nil, "0123456789"),
  ])
  func aRangeIsAnsweredAsTheRFCSays(range: String, status: Int, contentRange: String?, body: String) async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      for part in ["0123", "45", "6789"] { try await scene.output(auuid, part) }
      let answer = try await scene.get("/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain", "Range": range])
      #expect(answer.status == status && answer.headers["content-range"] == contentRange)
      // An error looks like every other one.
      #expect(status == 416 ? answer.text.contains(#""code":"bad_range""#) : answer.text == body)
    }
  }

  @Test func aDroppedMiddleIsLeftOutAndSaid() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.output(auuid, "head")
      try await scene.output(auuid, [(.stdout, Array("tail".utf8))], at: 1000)
      try await scene.move(auuid, to: .succeeded, exitCode: 0, outputBytes: 1004, dropped: (from: 4, count: 996))
      let json = try await scene.json("/v1/runs/\(auuid)/log")
      #expect(json["log"] == "headtail" && json["droppedBytes"] == 996)
      let text = try await scene.get("/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain", "Range": "bytes=2-5"])
      #expect(text.text == "adta" && text.headers["muster-dropped"] == "4+996")
    }
  }

  /// Longer than what is answered from memory, in pieces that split characters.
  @Test(arguments: [false, true])
  func aLongLogIsWholeInEveryForm(binary: Bool) async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      var bytes: [UInt8] = []
      for line in 0..<60_000 { bytes += Array("zeile \(line) \"äöü€😀\"\n".utf8) }
      if binary { bytes[bytes.count / 2] = 0xFF }
      #expect(bytes.count > Int(LogObject.smallBytes) * 2)
      for start in stride(from: 0, to: bytes.count, by: 100_003) {
        try await scene.output(auuid, [(.stdout, Array(bytes[start..<min(start + 100_003, bytes.count)]))], announce: false)
      }
      let json = try await scene.json("/v1/runs/\(auuid)/log")
      let log = try #require(json["log"]?.asString)
      if binary {
        #expect(json["encoding"] == "base64" && Base64.decode(log) == bytes)
      } else {
        #expect(json["encoding"] == "utf-8" && Array(log.utf8) == bytes)
      }
      #expect(json["state"] == "queued" && json["auuid"] == .string(auuid))
      let text = try await scene.get("/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain"])
      #expect(text.body == bytes && text.headers["content-length"] == "\(bytes.count)")
      let range = try await scene.get("/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain", "Range": "bytes=99999-500000"])
      #expect(range.body == Array(bytes[99_999...500_000]))
    }
  }

  @Test func anAliasNamesTheNewestRunWhereverAnAuuidDoes() async throws {
    try await withScene { scene in
      let first = try await scene.postOne()
      let second = try await scene.postOne()
      let alias = "web1say hi/now%\n"
      try await scene.store.write { try $0.execute(sql: "UPDATE runs SET alias = ?", arguments: [alias]) }
      try await scene.output(first, "old")
      try await scene.output(second, "new")
      let path = "web1say%20hi%2Fnow%25%0A"
      #expect(try await scene.json("/v1/runs/\(path)")["auuid"] == .string(second))
      #expect(try await scene.json("/v1/runs/\(path)/log")["log"] == "new")
      #expect(try await scene.json("/v1/producer/web1/\(path)/log")["log"] == "new")
      #expect(try await scene.json("/v1/tasks/\(path)")["auuid"] == .string(second))
    }
  }

  @Test func aHeadRequestHasTheFieldsAndNoBody() async throws {
    try await withScene { scene in
      let auuid = try await scene.postOne()
      try await scene.output(auuid, "hello")
      let get = try await scene.get("/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain"])
      let head = try await scene.send("HEAD", "/v1/runs/\(auuid)/log", headers: ["Accept": "text/plain"])
      #expect(head.status == 200 && head.body.isEmpty && head.headers["content-length"] == "5")
      #expect(get.headers["content-type"] == head.headers["content-type"])
      #expect(try await scene.send("HEAD", "/v1/runs/nobody").status == 404)
    }
  }
}

@Suite struct EncodingTests {
  @Test(arguments: [
    ("", 0), ("a", 0), ("ä", 0), ("€", 0), ("😀", 0),
  ])
  func aWholeCharacterIsNotCut(text: String, cut: Int) {
    #expect(UTF8Tail.length(of: Array(text.utf8)[...]) == cut)
  }

  @Test func everyUnfinishedCharacterIsCut() {
    for character in ["ä", "€", "😀"] {
      let bytes = Array(character.utf8)
      for count in 1..<bytes.count {
        #expect(UTF8Tail.length(of: (Array("x".utf8) + bytes[..<count])[...]) == count)
      }
    }
    #expect(UTF8Tail.length(of: [0x80, 0x80, 0x80, 0x80]) == 0)
    #expect(UTF8Tail.length(of: [0xFF]) == 0)
  }

  @Test func textIsKnownAsTextHoweverItIsCutIntoPieces() {
    let text = Array("aä€😀\n".utf8)
    for size in 1...text.count {
      var check = UTF8Check()
      for start in stride(from: 0, to: text.count, by: size) { check.add(Array(text[start..<min(start + size, text.count)])) }
      #expect(check.isText)
    }
    for bad in [[0xC3], [0x61, 0xFF, 0x61], [0xE2, 0x82], [0xED, 0xA0, 0x80]] as [[UInt8]] {
      var check = UTF8Check()
      for byte in bad { check.add([byte]) }
      #expect(!check.isText)
    }
  }
}

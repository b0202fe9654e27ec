// The main job from the outside: API.md, by curl and redis-cli, with the real programs.
import Foundation
import Testing

@Suite struct MainJobTests {
  @Test func aPostedCommandAnswersWithItsRealOutputExitCodeAndTiming() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("host-1", projects: ["web"])
      let posted = try await stand.post("/v1/producer/host-1/task", ["taskname": "echo out; echo err >&2; exit 3"])
      #expect(posted.status == 202)
      let auuid = try #require(posted["auuid"] as? String)
      #expect(auuid == "host-1-\(posted["task"] as? String ?? "")")
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "failed")
      #expect(run["exitCode"] as? Int == 3)
      #expect(run["project"] as? String == "web")
      #expect(run["outputBytes"] as? Int == 8)
      #expect(run["signalled"] as? Int == 0 && run["left"] as? Int == 0)
      for time in ["queuedAt", "sentAt", "startedAt", "finishedAt"] {
        #expect((run[time] as? String)?.hasSuffix("Z") == true, "\(time)")
      }
      let log = try await stand.get("/v1/producer/web/\(auuid)/log")
      #expect(log.status == 200)
      #expect(Set((log["log"] as? String ?? "").split(separator: "\n")) == ["out", "err"])
      #expect(log["uuid"] as? String == "host-1" && log["state"] as? String == "failed" && log["encoding"] as? String == "utf-8")
      #expect(String(decoding: try await stand.log(auuid, "?stream=stdout"), as: UTF8.self) == "out\n")
      #expect(String(decoding: try await stand.log(auuid, "?stream=stderr"), as: UTF8.self) == "err\n")
      for segment in ["host-1", "project"] { #expect(try await stand.get("/v1/producer/\(segment)/\(auuid)/log").status == 200) }
      #expect(try await stand.get("/v1/producer/other/\(auuid)/log").status == 404)
    }
  }

  @Test func aProjectsEveryMemberRunsItAndWaitReturnsWholeRuns() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("a1", projects: ["blue", "all-hosts"])
      try await stand.startAgent("a2", projects: ["blue"])
      let answer = try await stand.post("/v1/producer/blue/task?wait=30", ["taskname": "echo $MUSTER_UUID $MUSTER_RUN"])
      #expect(answer.status == 200)
      let runs = answer["runs"] as? [[String: Any]] ?? []
      #expect(Set(runs.compactMap { $0["uuid"] as? String }) == ["a1", "a2"])
      for run in runs {
        #expect(run["state"] as? String == "succeeded")
        #expect(run["log"] as? String == "\(run["uuid"] as? String ?? "") \(run["auuid"] as? String ?? "")\n")
        #expect(run["exitCode"] as? Int == 0)
      }
      let auuid = try #require(answer["auuid"] as? String)
      #expect(auuid.hasPrefix("blue-"))
      let text = String(decoding: try await stand.log(auuid), as: UTF8.self)
      #expect(text.contains("==> a1 <==") && text.contains("==> a2 <=="))
      let one = try await stand.post("/v1/producer/blue/task", ["taskname": "true", "uuid": "a2"])
      #expect((one["auuid"] as? String)?.hasPrefix("a2-") == true)
      let stranger = try await stand.post("/v1/producer/all-hosts/task", ["taskname": "true", "uuid": "a2"])
      #expect(stranger.status == 400 && stranger.text.contains("not_a_member"))
      #expect(try await stand.get("/v1/projects").text.contains("\"all-hosts\""))
    }
  }

  @Test func followingShowsOutputWhileTheCommandRunsAndEndsWithTheVerdict() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("f1")
      let gate = stand.folder.appendingPathComponent("gate")
      let auuid = try await stand.task("f1", "echo first; while [ ! -e \(gate.path) ]; do sleep 0.02; done; echo last")
      _ = try await eventually("the first line is there while it runs") {
        try await stand.get("/v1/runs/\(auuid)/log")["log"] as? String == "first\n" ? true : nil
      }
      #expect(try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running")
      async let followed = stand.get("/v1/runs/\(auuid)/log?follow=1")
      async let events = stand.get("/v1/runs/\(auuid)/log?follow=1", ["-H", "Accept: text/event-stream"])
      #expect(FileManager.default.createFile(atPath: gate.path, contents: nil))
      #expect(try await followed.text == "first\nlast\n")
      let text = try await events.text
      #expect(text.contains("event: output") && text.contains("event: state") && text.contains("event: end"))
    }
  }

  @Test func redisCliAloneDrivesAnAgentAsTheSeedDescribes() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("1001001001", projects: ["mobile_project"])
      #expect(try await stand.redisCLI("smembers", "mobile_project") == "1001001001")
      _ = try await stand.redisCLI("hset", "1001001001", "list files", "echo hello; exit 7")
      _ = try await eventually("the result is there") {
        try await stand.redisCLI("hget", "1001001001list files", "state") == "failed" ? true : nil
      }
      #expect(try await stand.redisCLI("hget", "1001001001list files", "log") == "hello")
      #expect(try await stand.redisCLI("hget", "1001001001list files", "exit") == "7")
      #expect(try await stand.redisCLI("hget", "1001001001list files", "uuid") == "1001001001")
      #expect(try await stand.redisCLI("hget", "1001001001list files", "taskname") == "list files")
      #expect(try await stand.redisCLI("hget", "1001001001list files", "muster") == "1")
      #expect(try await stand.redisCLI("exists", "1001001001") == "0")
      let log = try await eventually("the dashboard has its history") {
        let log = try await stand.get("/v1/producer/mobile_project/1001001001list%20files/log")
        return log["state"] as? String == "failed" ? log : nil
      }
      #expect(log["log"] as? String == "hello\n")
      let tasks = try await stand.get("/v1/tasks")
      #expect(tasks.text.contains("\"origin\":\"plain\""))
    }
  }

  @Test func aResultOfOneAgentIsNeverACommandOfAnother() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("web")
      try await stand.startAgent("web1")
      // Its output would be a command, too.
      let marker = stand.folder.appendingPathComponent("ran")
      _ = try await stand.redisCLI("hset", "web", "1", "echo 'touch \(marker.path)'")
      let run = try await eventually("the run of `web` has ended") {
        let runs = try await stand.get("/v1/runs?uuid=web")
        let items = runs["items"] as? [[String: Any]] ?? []
        return items.first { $0["state"] as? String == "succeeded" }
      }
      let auuid = try #require(run["auuid"] as? String)
      // The alias `web1` is the result; the agent `web1` runs none of its fields.
      for key in [auuid, "web1"] {
        _ = try await eventually("the result stands under \(key)") {
          try await stand.redisCLI("hmget", key, "log", "muster") == "touch \(marker.path)\n\n1" ? true : nil
        }
      }
      // It looks for commands about once a second.
      let after = try await stand.post("/v1/producer/web1/task?wait=60", ["taskname": "sleep 3"])
      #expect((after["runs"] as? [[String: Any]])?.count == 1)
      #expect(((try await stand.get("/v1/runs?uuid=web1"))["items"] as? [Any])?.count == 1)
      #expect(!FileManager.default.fileExists(atPath: marker.path))
    }
  }

  @Test func whatCannotBeStartedFailsWithItsReasonAndAShellLineWithTheShells127() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("s1")
      let missing = try await stand.verdict(try await stand.task("s1", "/no/such/program", ["args": ["x"]]))
      #expect(missing["state"] as? String == "failed" && missing["reason"] as? String == "ENOENT")
      let denied = try await stand.verdict(try await stand.task("s1", "/etc/passwd", ["args": [String]()]))
      #expect(denied["state"] as? String == "failed" && denied["reason"] as? String == "EACCES")
      let shell = try await stand.verdict(try await stand.task("s1", "no-such-program-here"))
      #expect(shell["state"] as? String == "failed" && shell["exitCode"] as? Int == 127)
      let signal = try await stand.verdict(try await stand.task("s1", "kill -SEGV $$"))
      #expect(signal["state"] as? String == "failed" && signal["signal"] as? String == "SEGV" && signal["exitCode"] is NSNull)
      let late = try await stand.verdict(try await stand.task("s1", "sleep 60", ["timeout": 0.3]))
      #expect(late["state"] as? String == "timedOut")
      #expect(late["left"] as? Int == 0)
    }
  }

  @Test func argumentsEnvironmentFolderAndInputReachTheCommandAsTheyAre() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("e1")
      let answer = try await stand.post(
        "/v1/producer/e1/task?wait=60",
        [
          "taskname": "sh", "args": ["-c", "printf '%s|' \"$1\" \"$A\" \"$PWD\"; cat", "sh", "a b; $HOME"], "env": ["A": "é"],
          "cwd": "/", "stdin": "in\n",
        ])
      #expect((answer["runs"] as? [[String: Any]])?.first?["log"] as? String == "a b; $HOME|é|/|in\n")
      let clean = try await stand.post("/v1/producer/e1/task?wait=60", ["taskname": "env | cut -d= -f1 | sort | tr '\\n' ' '"])
      let names = ((clean["runs"] as? [[String: Any]])?.first?["log"] as? String ?? "").split(separator: " ").map(String.init)
      #expect(Set(names).isSuperset(of: ["PATH", "HOME", "USER", "LANG", "MUSTER_RUN", "MUSTER_TASK", "MUSTER_UUID"]))
      #expect(
        Set(names).isSubset(of: [
          "PATH", "HOME", "USER", "LANG", "MUSTER_RUN", "MUSTER_TASK", "MUSTER_UUID", "PWD", "OLDPWD", "SHLVL", "_",
        ]))
    }
  }

  @Test func outputIsKeptByteForByte() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("b1")
      let every = (0...255).map { UInt8($0) }
      let octal = every.map { String(format: "\\%03o", $0) }.joined()
      let auuid = try await stand.task("b1", "printf '\(octal)'; printf '\\033[31mred'")
      _ = try await stand.verdict(auuid)
      #expect([UInt8](try await stand.log(auuid)) == every + Array("\u{1b}[31mred".utf8))
      let json = try await stand.get("/v1/runs/\(auuid)/log")
      #expect(json["encoding"] as? String == "base64")
      #expect(Data(base64Encoded: json["log"] as? String ?? "") == Data(every + Array("\u{1b}[31mred".utf8)))
      let ranged = try await stand.get("/v1/runs/\(auuid)/log", ["-H", "Accept: text/plain", "-H", "Range: bytes=65-66"])
      #expect(ranged.status == 206 && ranged.text == "AB")
      let large = try await stand.task("b1", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end")
      _ = try await stand.verdict(large)
      let whole = try await eventually("all of it is there") {
        let log = try await stand.log(large)
        return log.count == 3_000_005 ? log : nil
      }
      #expect(whole.suffix(5) == Data("\nend\n".utf8))
    }
  }

  @Test func pastTheCapHeadAndTailAreKeptAndTheRestIsCounted() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      try await stand.startAgent("c1", settings: ["output": ["cap": 65_536]])
      let auuid = try await stand.task("c1", "i=0; while [ $i -lt 40000 ]; do echo $i; i=$((i+1)); done")
      let run = try await stand.verdict(auuid)
      let all = (0..<40000).map { "\($0)\n" }.joined()
      #expect(run["outputBytes"] as? Int == all.utf8.count)
      #expect(run["droppedBytes"] as? Int == all.utf8.count - 65_536)
      let kept = Data(all.utf8.prefix(32_768)) + Data(all.utf8.suffix(32_768))
      _ = try await eventually("head and tail are there") { try await stand.log(auuid) == kept ? true : nil }
      #expect(run["state"] as? String == "succeeded")
    }
  }

  @Test func whatIsNotKnownIsNamedInTheError() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let unknown = try await stand.post("/v1/producer/nobody/task", ["taskname": "true"])
      #expect(unknown.status == 404)
      #expect(unknown.text.contains("unknown_target") && unknown.text.contains("nobody"))
      let broken = try await stand.curl([
        "-X", "POST", "-d", "{\"taskname\": tru}", "http://127.0.0.1:\(stand.port)/v1/producer/x/task",
      ])
      #expect(broken.status == 400 && broken.text.contains("bad_json") && broken.text.contains("line 1"))
      // Whatever anybody writes into the set of agents is no reason to fall over.
      for score in ["inf", "-inf", "1e300", "-5", "0"] {
        _ = try await stand.redisCLI("zadd", "muster:agents", score, "odd\(score)")
      }
      // A member put there by hand is known, and its work waits for it.
      _ = try await stand.redisCLI("sadd", "byhand", "later-1")
      let posted = try await stand.post("/v1/producer/later-1/task", ["taskname": "echo at last"])
      #expect(posted.status == 202)
      try await stand.startAgent("later-1")
      let run = try await stand.verdict(posted["auuid"] as? String ?? "")
      #expect(run["state"] as? String == "succeeded")
    }
  }

  @Test func aRunThatIsNotStartedInTimeExpiresAlsoWhenItsAgentNeverCame() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      _ = try await stand.redisCLI("sadd", "byhand", "never-1")
      let auuid = try await stand.task("never-1", "true", ["expires": 0.5])
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "expired")
      #expect(run["startedAt"] is NSNull)
      // ... and one that waits behind a busy agent expires by that agent's word.
      try await stand.startAgent("busy-1", settings: ["task": ["concurrency": 1]])
      let long = try await stand.task("busy-1", "sleep 5")
      let waiting = try await stand.task("busy-1", "echo never", ["expires": 1])
      #expect(try await stand.verdict(waiting)["state"] as? String == "expired")
      #expect(try await stand.verdict(long)["state"] as? String == "succeeded")
    }
  }
}

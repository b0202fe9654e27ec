// One run that prints more than anybody can keep, with the real programs: they stay at their size, other runs do not wait for it, and its
// verdict does not wait for its output.
import Foundation
import Glibc
import Testing

@Suite struct LimitsTests {
  private static let total = 10_000_000_000
  private static let cap = 32 << 20

  @Test func aRunThatPrintsTenGigabytesLeavesEverybodyAtTheirSizeAndOthersAtTheirPace() async throws {
    try await withStand { (stand: Stand) async throws -> Void in
      let agent = try await stand.startAgent("big")
      for _ in 0..<3 { _ = try await stand.verdict(try await stand.task("big", "true")) }
      let before = (agent: try Self.peak(agent.pid), dashboard: try Self.peak(stand.dashboard.pid))
      let auuid = try await stand.task("big", "exec head -c \(Self.total) /dev/zero", ["timeout": 900])
      _ = try await eventually("it prints") {
        (try await stand.get("/v1/runs/\(auuid)"))["state"] as? String == "running" ? true : nil
      }
      let began = ContinuousClock.now
      var (beside, runner) = ([Duration](), 0)
      while try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running" {
        let posted = ContinuousClock.now
        let other = try await stand.post("/v1/producer/big/task?wait=60", ["taskname": "echo beside"])
        #expect(other.status == 200, "\(other.status) \(other.text)")
        if try await stand.get("/v1/runs/\(auuid)")["state"] as? String == "running" { beside.append(posted.duration(to: .now)) }
        for pid in Self.runners(of: agent.pid) { runner = max(runner, (try? Self.peak(pid)) ?? 0) }
      }
      let took = began.duration(to: .now)
      let median = beside.isEmpty ? took : beside.sorted()[beside.count / 2]
      print("MEASURED 10 GB in \(took); \(beside.count) other runs beside it, half of them within \(median)")
      // On a machine of any speed: one that waited for it would take as long as it does.
      #expect(beside.count >= 4 && median < took / 4, "\(beside.count) other runs ended while it printed for \(took)")
      let run = try await stand.verdict(auuid)
      #expect(run["state"] as? String == "succeeded")
      #expect(run["outputBytes"] as? Int == Self.total)
      #expect(run["droppedBytes"] as? Int == Self.total - Self.cap)
      let after = (agent: try Self.peak(agent.pid), dashboard: try Self.peak(stand.dashboard.pid))
      #expect(after.agent - before.agent < 32 << 10, "KiB: the agent grew from \(before.agent) to \(after.agent)")
      #expect(
        after.dashboard - before.dashboard < 96 << 10, "KiB: the dashboard grew from \(before.dashboard) to \(after.dashboard)")
      #expect(runner > 0 && runner < 32 << 10, "KiB: a runner had \(runner)")
      // What is kept arrives, and the log says what is missing and where.
      _ = try await eventually("head and tail are there", within: 120) {
        try await stand.get(
          "/v1/runs/\(auuid)/log", ["-H", "Accept: text/plain", "-o", "/dev/null", "-w", "%{size_download}\n%{http_code}"]
        )
        .text.contains("\(Self.cap)") ? true : nil
      }
      let head = try await stand.get("/v1/runs/\(auuid)/log", ["-H", "Accept: text/plain", "-H", "Range: bytes=0-9", "-i"])
      #expect(head.text.contains("Muster-Dropped: \(Self.cap / 2)+\(Self.total - Self.cap)"))
    }
  }

  /// Largest resident size so far, in KiB.
  static func peak(_ pid: pid_t) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
      let number = line.split(separator: " ").dropLast().last.flatMap({ Int($0.trimmingCharacters(in: .whitespaces)) })
    else { throw StandFault("no VmHWM of \(pid)") }
    return number
  }

  /// Its children that are runners.
  static func runners(of agent: pid_t) -> [pid_t] {
    let text = (try? String(contentsOfFile: "/proc/\(agent)/task/\(agent)/children", encoding: .utf8)) ?? ""
    let own = text.split(separator: " ").compactMap { pid_t($0) }
    if !own.isEmpty { return own }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { pid in
      guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let close = stat.lastIndex(of: ")")
      else {
        return false
      }
      return stat[close...].split(separator: " ").dropFirst(2).first.flatMap { pid_t($0) } == agent
    }
  }
}

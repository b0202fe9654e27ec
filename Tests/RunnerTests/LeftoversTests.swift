// What is found on the host when a runner was killed, by which proof, and what is never touched.

import CSpawn
import Glibc
import Testing

@testable import Runner

struct LeftoversTests {
  static let hasGroups: Bool = {
    guard let mounts = System.contents(of: "/proc/self/mountinfo", limit: 1 << 20),
      let own = System.contents(of: "/proc/self/cgroup", limit: 65536)
    else { return false }
    return ControlGroup.places(mounts: mounts, own: own).contains { access($0.folder, W_OK) == 0 }
  }()

  func number(in text: String) -> Int32 { Int32(text.split(separator: "\n").first.map(String.init) ?? "") ?? 0 }

  func opened(_ runner: RunnerUnderTest) throws -> OpenedRecord {
    for case .opened(let record) in runner.records() { return record }
    throw TestFault("no first record")
  }

  func started(_ runner: RunnerUnderTest) throws -> StartedRecord {
    for case .started(let record) in runner.records() { return record }
    throw TestFault("nothing was started")
  }

  func killRunner(_ runner: RunnerUnderTest) throws {
    kill(runner.process.pid, SIGKILL)
    #expect(try runner.waitForExit() == -SIGKILL)
  }

  /// KILL to all, until nobody is found twice.
  func end(_ leftovers: Leftovers) -> Bool {
    var quiet = 0
    return poll {
      let found = leftovers.look(except: [])
      for process in found { _ = Leftovers.signal(process, SIGKILL) }
      quiet = found.isEmpty ? quiet + 1 : 0
      return quiet >= 2
    }
  }

  @Test(.enabled(if: hasGroups)) func whoEscapedWithAnEmptyEnvironmentIsFoundByTheRunnersControlGroup() async throws {
    try await withRunner { runner in
      let order = runner.order("escape", "1")
      let leader = try runner.begin(order)
      try runner.waitForOutput(2)
      let escaped = number(in: runner.text(order))
      let group = try opened(runner).controlGroup
      #expect(ControlGroup.members(of: group) == [runner.process.pid, leader, escaped])
      #expect(!ControlGroup.remove(group), "somebody lives in it")
      try killRunner(runner)
      let leftovers = Leftovers(run: order.run, runner: nil, controlGroup: group, started: nil)
      #expect(Set(leftovers.look(except: []).map(\.pid)) == [leader, escaped])
      #expect(end(leftovers))
      #expect(!isAlive(leader) && !isAlive(escaped))
      #expect(ControlGroup.remove(group))
      #expect(access(group, F_OK) != 0)
    }
  }

  @Test func whoEscapedIsFoundByItsEnvironment() async throws {
    try await withRunner { runner in
      var order = runner.order("escape", "1")
      order.environment.append(Array("MUSTER_RUN=\(order.run)-\(getpid())".utf8))
      let leader = try runner.begin(order)
      try runner.waitForOutput(2)
      let escaped = number(in: runner.text(order))
      let process = try opened(runner).process
      try killRunner(runner)
      let leftovers = Leftovers(run: "\(order.run)-\(getpid())", runner: process, controlGroup: "", started: nil)
      #expect(Set(leftovers.look(except: []).map(\.pid)) == [leader, escaped])
      #expect(leftovers.look(except: [leader, escaped]).isEmpty)
      #expect(
        Leftovers(run: order.run, runner: process, controlGroup: "", started: nil).look(except: []).isEmpty, "another run's")
      #expect(end(leftovers))
      #expect(!isAlive(leader) && !isAlive(escaped))
      ControlGroup.remove(try opened(runner).controlGroup)
    }
  }

  @Test func aLeaderThatIsProvedByItsTimeOfStartBringsItsSessionAndItsChildren() async throws {
    try await withRunner { runner in
      let order = runner.shell("sleep 600 & setsid sleep 601 & echo $!; wait")
      let leader = try runner.begin(order)
      try runner.waitForOutput(2)
      let away = number(in: runner.text(order))
      let record = try started(runner)
      try killRunner(runner)
      let leftovers = Leftovers(run: "none", runner: nil, controlGroup: "", started: record)
      let found = leftovers.look(except: [])
      #expect(found.count == 3)
      #expect(Set(found.map(\.pid)).isSuperset(of: [leader, away]))
      // The same number at another time is somebody else.
      var other = record
      other.bootNanoseconds += 10_000_000_000
      other.bootNanosecondsAfter += 10_000_000_000
      #expect(Leftovers(run: "none", runner: nil, controlGroup: "", started: other).look(except: []).isEmpty)
      other.bootNanoseconds = 0
      #expect(Leftovers(run: "none", runner: nil, controlGroup: "", started: other).look(except: []).isEmpty)
      #expect(Leftovers.signal(.init(pid: leader, startTime: 1), SIGKILL) == ESRCH)
      #expect(isAlive(leader))
      #expect(end(leftovers))
      ControlGroup.remove(try opened(runner).controlGroup)
    }
  }

  @Test func theOneWhoLooksAndThoseItDescendsFromAreNeverFound() {
    // As if the run had started the agent itself: every mark of its is inherited.
    let own = ProcessEntry(pid: getpid())
    var record = StartedRecord(pid: own?.parent ?? 0, wallMilliseconds: 0)
    record.bootNanoseconds = 1
    record.bootNanosecondsAfter = .max
    let leftovers = Leftovers(run: "none", runner: nil, controlGroup: "", started: record)
    #expect(!leftovers.look(except: []).contains { $0.pid == getpid() || $0.pid == own?.parent || $0.pid == 1 })
  }

  @Test func groupsAreMadeBelowOnesOwnWhateverTheHostHas() {
    func places(_ mounts: String, _ own: String) -> [String] {
      ControlGroup.places(mounts: Array(mounts.utf8), own: Array(own.utf8)).map { "\($0.folder) \($0.joinBy)" }
    }
    let second = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
    let freezer = "37 30 0:33 / /sys/fs/cgroup/freezer rw shared:11 - cgroup cgroup rw,freezer"
    let named = "38 30 0:34 / /sys/fs/cgroup/systemd rw shared:12 - cgroup cgroup rw,xattr,name=systemd"
    let memory = "39 30 0:35 / /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory"
    #expect(places(second, "0::/system.slice/agent.service\n") == ["/sys/fs/cgroup/system.slice/agent.service cgroup.procs"])
    #expect(places(second, "0::/\n") == ["/sys/fs/cgroup cgroup.procs"])
    #expect(
      places([memory, named, freezer].joined(separator: "\n"), "5:freezer:/\n4:memory:/a\n1:name=systemd:/b\n") == [
        "/sys/fs/cgroup/freezer tasks", "/sys/fs/cgroup/systemd/b tasks",
      ])
    // A container that sees a part of the hierarchy, and one whose own group lies outside of what it sees.
    let part = "30 23 0:26 /docker/1 /sys/fs/cgroup\\040x rw - cgroup2 cgroup2 rw"
    #expect(places(part, "0::/docker/1/inner\n") == ["/sys/fs/cgroup x/inner cgroup.procs"])
    #expect(places(part, "0::/docker/10\n").isEmpty)
    #expect(places(second, "0::/../outside\n").isEmpty)
    #expect(places("", "").isEmpty && places("30 x - cgroup2", "0::/").isEmpty)
  }
}

// The scripted child of the runner's tests: a runner itself (`runner`), and commands that behave in every way a command may.
// When adding a behaviour: a line in `behave`, and a test in RunnerTests that is named for what the runner does about it.

import Glibc
import Runner

@main struct RunnerTestChild {
  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    guard let behaviour = arguments.first else { exit(64) }
    let numbers = arguments.dropFirst().map { Int($0) ?? 0 } + [0, 0, 0]
    if behaviour == "runner" { exit(RunnerMain.run(arguments: Array(arguments.dropFirst()))) }
    if behaviour == "without-pidfds" { becomeWithoutPidfds(errno: numbers[0], Array(arguments.dropFirst(2))) }
    behave(behaviour, numbers)
    exit(0)
  }

  static func behave(_ behaviour: String, _ numbers: [Int]) {
    switch behaviour {
    case "exit": exit(Int32(numbers[0]))
    case "die": die(Int32(numbers[0]))
    case "hang":
      say("ready\n")
      sleepFor(milliseconds: numbers[0])
    case "ignore-term":
      signal(SIGTERM, SIG_IGN)
      say("ready\n")
      sleepFor(milliseconds: 600_000)
    case "tidy-on-term":
      // The leader dies of TERM at once; its child needs a moment to tidy up.
      startChild {
        signal(SIGTERM) { _ in
          usleep(100_000)
          RunnerTestChild.say("tidied\n")
          _exit(0)
        }
        say("ready\n")
        sleepFor(milliseconds: 600_000)
      }
      sleepFor(milliseconds: 600_000)
    case "hold-pipe":
      // A grandchild keeps the output open after the leader has gone.
      let child = startChild { sleepFor(milliseconds: numbers[0]) }
      say("\(child)\n")
    case "talk-on":
      // What is left goes on writing into the pipe, and would die of SIGPIPE without a reader.
      let child = startChild {
        for _ in 0..<numbers[0] {
          say("still here\n")
          usleep(10_000)
        }
        exit(0)
      }
      say("\(child)\n")
    case "escape": escape(thenIgnoreTerm: numbers[0] == 1)
    case "close-and-go-on":
      say("before\n")
      close(1)
      close(2)
      sleepFor(milliseconds: numbers[0])
      exit(3)
    case "count": count(bytes: numbers[0])
    case "drip": drip(count: numbers[0], everyMilliseconds: numbers[1])
    case "alternate":
      for _ in 0..<numbers[0] {
        say("o")
        say("E", to: 2)
      }
    case "myself": describeMyself()
    default: exit(64)
    }
  }

  /// Swift hides calls with arguments at will.
  private static func prctl(_ option: Int32, _ first: UInt, _ second: UInt = 0) -> Int32 {
    guard let symbol = dlsym(nil, "prctl") else { exit(67) }
    typealias Function = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
    return unsafeBitCast(symbol, to: Function.self)(option, first, second, 0, 0)
  }

  /// Executes the program as an old kernel, or a container's filter, would have it: whoever opens a pidfd gets this errno.
  static func becomeWithoutPidfds(errno number: Int, _ words: [String]) {
    // Of BPF, as four `sock_filter`s: the call's number; is it 434, pidfd_open? then the errno; else go on.
    let program: [UInt64] = [
      0x20, 0x15 | 1 << 24 | 434 << 32, 0x06 | (0x0005_0000 | UInt64(number)) << 32, 0x06 | 0x7FFF_0000 << 32,
    ]
    program.withUnsafeBufferPointer { instructions in
      // `sock_fprog`.
      var filter = (UInt64(instructions.count), instructions.baseAddress)
      // PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP with SECCOMP_MODE_FILTER.
      let isFiltered = withUnsafePointer(to: &filter) { prctl(38, 1) == 0 && prctl(22, 2, UInt(bitPattern: $0)) == 0 }
      if !isFiltered { exit(68) }
    }
    var arguments = words.map { strdup($0) } + [nil]
    execv(words[0], &arguments)
    exit(69)
  }

  static func say(_ text: String, to descriptor: Int32 = 1) {
    let bytes = Array(text.utf8)
    _ = write(descriptor, bytes, bytes.count)
  }

  static func sleepFor(milliseconds: Int) {
    var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
    var rest = timespec()
    while nanosleep(&time, &rest) != 0 && errno == EINTR { time = rest }
  }

  /// Swift hides fork; a child here is a copy that runs `body` and ends.
  @discardableResult
  static func startChild(_ body: () -> Void) -> Int32 {
    guard let symbol = dlsym(nil, "fork") else { exit(67) }
    let pid = unsafeBitCast(symbol, to: (@convention(c) () -> Int32).self)()
    guard pid == 0 else { return pid }
    body()
    _exit(0)
  }

  /// Twice forked, a session of its own, nothing of the runner's open: only its parent's parent knows.
  static func escape(thenIgnoreTerm: Bool) {
    var ends: [Int32] = [0, 0]
    pipe(&ends)
    startChild {
      setsid()
      startChild {
        if thenIgnoreTerm { signal(SIGTERM, SIG_IGN) }
        var pid = getpid()
        write(ends[1], &pid, 4)
        for descriptor in Int32(0)...9 { close(descriptor) }
        sleepFor(milliseconds: 600_000)
      }
    }
    var pid: Int32 = 0
    read(ends[0], &pid, 4)
    say("\(pid)\n")
    sleepFor(milliseconds: 600_000)
  }

  static func die(_ number: Int32) {
    var limit = rlimit(rlim_cur: 0, rlim_max: 0)
    setrlimit(__rlimit_resource_t(4), &limit)  // RLIMIT_CORE
    signal(number, SIG_DFL)
    kill(getpid(), number)
    sleepFor(milliseconds: 600_000)
  }

  /// Blocks of 4 KiB that begin with a line telling their offset and go on with lines of letters; written 64 KiB at a time.
  static func count(bytes: Int) {
    var piece = (0..<65536).map { $0 % 16 == 15 ? 10 : UInt8(97 + $0 % 16) }
    var offset = 0
    while offset < bytes {
      for block in 0..<16 {
        var number = offset + block * 4096
        for digit in (0..<15).reversed() {
          piece[block * 4096 + digit] = UInt8(48 + number % 10)
          number /= 10
        }
      }
      var done = 0
      let length = min(65536, bytes - offset)
      while done < length {
        let count = piece[done...].withUnsafeBytes { write(1, $0.baseAddress, length - done) }
        if count <= 0 { exit(65) }
        done += count
      }
      offset += length
    }
  }

  /// Monotonic times, 8 bytes each, written when they say.
  static func drip(count: Int, everyMilliseconds: Int) {
    for _ in 0..<count {
      var time = timespec()
      clock_gettime(CLOCK_MONOTONIC, &time)
      var nanoseconds = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
      write(1, &nanoseconds, 8)
      sleepFor(milliseconds: everyMilliseconds)
    }
  }

  static func describeMyself() {
    say("pid=\(getpid()) group=\(getpgrp()) session=\(getsid(0))\n")
    let mask = umask(0)
    say("umask=\(mask)\n")
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
    say("files=\(limit.rlim_cur)\n")
    say("ids=\(getuid()):\(getgid()):\(getgroups(0, nil))\n")
    // PR_GET_PDEATHSIG
    var death: Int32 = -1
    _ = withUnsafeMutablePointer(to: &death) { prctl(2, UInt(bitPattern: $0)) }
    say("death=\(death)\n")
    var open: [Int32] = []
    for descriptor in Int32(0)..<256 where fcntl(descriptor, F_GETFD) >= 0 { open.append(descriptor) }
    say("open=\(open)\n")
    guard let status = fopen("/proc/self/status", "r") else { exit(66) }
    var line = [CChar](repeating: 0, count: 1024)
    while fgets(&line, 1024, status) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if text.hasPrefix("Sig") { say(text) }
    }
  }
}

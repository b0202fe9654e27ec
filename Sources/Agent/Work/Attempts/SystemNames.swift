// Names of signals and of errors, as API.md shows them: `TERM`, `ENOENT`.

import Glibc

enum SystemNames {
  static let terminate = SIGTERM
  static let kill = SIGKILL
  private static let signals: [Int32: String] = [
    SIGHUP: "HUP", SIGINT: "INT", SIGQUIT: "QUIT", SIGILL: "ILL", SIGTRAP: "TRAP", SIGABRT: "ABRT", SIGBUS: "BUS", SIGFPE: "FPE",
    SIGKILL: "KILL", SIGUSR1: "USR1", SIGSEGV: "SEGV", SIGUSR2: "USR2", SIGPIPE: "PIPE", SIGALRM: "ALRM", SIGTERM: "TERM",
    SIGSTKFLT: "STKFLT", SIGCHLD: "CHLD", SIGCONT: "CONT", SIGSTOP: "STOP", SIGTSTP: "TSTP", SIGTTIN: "TTIN", SIGTTOU: "TTOU",
    SIGURG: "URG", SIGXCPU: "XCPU", SIGXFSZ: "XFSZ", SIGVTALRM: "VTALRM", SIGPROF: "PROF", SIGWINCH: "WINCH", SIGIO: "IO",
    SIGPWR: "PWR", SIGSYS: "SYS",
  ]

  /// Without SIG; the number where it has no name (`35`: a real-time signal).
  static func signal(_ number: Int32) -> String { signals[number] ?? "\(number)" }

  /// The number of a name with or without SIG, or of a number's text.
  static func signal(named name: String) -> Int32? {
    let short = name.hasPrefix("SIG") ? String(name.dropFirst(3)) : name
    if let number = Int32(short), (1...64).contains(number) { return number }
    return signals.first { $0.value == short }?.key
  }

  private static let errors: [Int32: String] = [
    EPERM: "EPERM", ENOENT: "ENOENT", EIO: "EIO", E2BIG: "E2BIG", ENOEXEC: "ENOEXEC", EBADF: "EBADF", EAGAIN: "EAGAIN",
    ENOMEM: "ENOMEM",
    EACCES: "EACCES", EFAULT: "EFAULT", EBUSY: "EBUSY", EEXIST: "EEXIST", ENODEV: "ENODEV", ENOTDIR: "ENOTDIR", EISDIR: "EISDIR",
    EINVAL: "EINVAL", ENFILE: "ENFILE", EMFILE: "EMFILE", ETXTBSY: "ETXTBSY", EFBIG: "EFBIG", ENOSPC: "ENOSPC", EROFS: "EROFS",
    ENAMETOOLONG: "ENAMETOOLONG", ENOSYS: "ENOSYS", ELOOP: "ELOOP", EDQUOT: "EDQUOT", ELIBBAD: "ELIBBAD", ECANCELED: "ECANCELED",
  ]

  static func error(_ code: Int32) -> String { errors[code] ?? "errno \(code)" }

  /// The host lacks something that comes back: room, descriptors, memory, processes.
  static func isWant(_ code: Int32) -> Bool { [ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EAGAIN].contains(code) }
}

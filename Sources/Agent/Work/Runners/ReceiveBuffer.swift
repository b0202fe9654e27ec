// One buffer for everything that runners say, and the two words about processes that the work needs of the system.

import Glibc
import Runner

final class ReceiveBuffer {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)
  deinit { bytes.deallocate() }
}

enum ProcessBoot {
  static var current: String? { ProcessIdentity.currentBootID() }
  static var pid: Int32 { getpid() }
  static func exists(_ pid: Int32) -> Bool { pid > 0 && (kill(pid, 0) == 0 || errno != ESRCH) }
  static func close(_ descriptor: Int32) { Glibc.close(descriptor) }
  static var wallMilliseconds: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}

// A file of a folder on disk. Opened one segment at a time, each relative to the folder before and none through a symbolic
// link: whatever changes on disk meanwhile, the walk cannot leave the root.

import CEpoll
import Glibc

enum FolderFile {
  static let largest = 16 << 20

  /// The regular file at `segments` below `root`; nil where there is none, or it is too large. Blocks on the disk.
  static func load(_ segments: [String], below root: String) -> EmbeddedFile? {
    guard let name = segments.last else { return nil }
    // The root itself may be reached through a link: the operator named it.
    var folder = open(root, cepoll_path | O_DIRECTORY | O_CLOEXEC)
    for segment in segments.dropLast() where folder >= 0 {
      let next = openat(folder, segment, cepoll_path | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      close(folder)
      folder = next
    }
    guard folder >= 0 else { return nil }
    // Not blocking, so that a pipe with this name cannot hold the loop.
    let file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    close(folder)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var info = stat()
    guard fstat(file, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_size <= largest,
      let bytes = read(file, expecting: Int(info.st_size))
    else { return nil }
    let changed = String(info.st_mtim.tv_sec, radix: 16) + "." + String(info.st_mtim.tv_nsec, radix: 16)
    return EmbeddedFile(path: name, bytes: bytes, etag: "\(changed)-\(String(info.st_ino, radix: 16))-\(bytes.count)")
  }

  /// All bytes up to the end, which may have moved since the file was looked at.
  private static func read(_ file: Int32, expecting size: Int) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size + 1)
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    defer { block.deallocate() }
    while bytes.count <= largest {
      let count = Glibc.read(file, block.baseAddress, block.count)
      if count == 0 { return bytes }
      if count < 0 {
        if errno == EINTR { continue }
        return nil
      }
      bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: block[0..<count]))
    }
    return nil
  }
}

// Bytes as JSON carries them: text where they are valid UTF-8, base64 where they are not.

import Shared

struct EncodedLog: Sendable, Equatable {
  enum Encoding: String, Sendable {
    case utf8 = "utf-8"
    case base64
  }
  var text: String
  var encoding: Encoding

  /// - Parameter cut: more bytes follow; a character that is cut off at the end is then left out instead of making base64 of all.
  init(_ bytes: [UInt8], cut: Bool = false) {
    let kept = cut ? bytes.dropLast(UTF8Tail.length(of: bytes[...])) : bytes[...]
    if let text = String(validating: kept, as: UTF8.self) {
      self.text = text
      encoding = .utf8
    } else {
      text = Base64.encode(bytes)
      encoding = .base64
    }
  }
}

enum UTF8Tail {
  /// How many bytes at the end begin a character and do not finish it: 0 to 3. 0 as well where they could never be one.
  static func length(of bytes: ArraySlice<UInt8>) -> Int {
    for back in 1...3 {
      guard bytes.count >= back else { return 0 }
      let byte = bytes[bytes.endIndex - back]
      switch byte {
      case 0x80..<0xC0: continue
      case 0xC2..<0xE0: return back < 2 ? back : 0
      case 0xE0..<0xF0: return back < 3 ? back : 0
      case 0xF0..<0xF5: return back < 4 ? back : 0
      default: return 0
      }
    }
    return 0
  }
}

/// Tells whether bytes that come in pieces are valid UTF-8 as a whole.
struct UTF8Check {
  private var isValid = true
  private var carried: [UInt8] = []

  mutating func add(_ bytes: [UInt8]) {
    guard isValid else { return }
    let all = carried + bytes
    let tail = UTF8Tail.length(of: all[...])
    carried = Array(all.suffix(tail))
    isValid = String(validating: all.dropLast(tail), as: UTF8.self) != nil
  }

  /// What there was so far is valid as a whole: to be asked after the last piece.
  var isText: Bool { isValid && carried.isEmpty }
}

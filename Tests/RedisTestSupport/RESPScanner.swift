// Finds where one RESP value ends: requests (arrays of strings) and replies alike. Only what a proxy needs to count commands.

enum RESPScanner {
  /// The bytes that the first value takes; nil while it is not all there.
  static func length(_ bytes: ArraySlice<UInt8>) -> Int? {
    var index = bytes.startIndex
    var missing = 1
    while missing > 0 {
      guard index < bytes.endIndex, let line = lineEnd(bytes, index) else { return nil }
      missing -= 1
      let number = Int(String(decoding: bytes[(index + 1)..<line], as: UTF8.self)) ?? 0
      let kind = bytes[index]
      index = line + 2
      switch kind {
      case UInt8(ascii: "$") where number >= 0:
        index += number + 2
        guard index <= bytes.endIndex else { return nil }
      case UInt8(ascii: "*") where number > 0: missing += number
      default: break
      }
    }
    return index - bytes.startIndex
  }

  /// The first words of a request.
  static func words(_ request: ArraySlice<UInt8>, limit: Int) -> [[UInt8]] {
    var words: [[UInt8]] = []
    guard var index = lineEnd(request, request.startIndex).map({ $0 + 2 }) else { return [] }
    while words.count < limit, index < request.endIndex, let line = lineEnd(request, index) {
      let count = Int(String(decoding: request[(index + 1)..<line], as: UTF8.self)) ?? 0
      guard line + 2 + count <= request.endIndex else { break }
      words.append(Array(request[(line + 2)..<(line + 2 + count)]))
      index = line + 2 + count + 2
    }
    return words
  }

  private static func lineEnd(_ bytes: ArraySlice<UInt8>, _ start: Int) -> Int? {
    var index = start
    while index + 1 < bytes.endIndex {
      if bytes[index] == 13, bytes[index + 1] == 10 { return index }
      index += 1
    }
    return nil
  }
}

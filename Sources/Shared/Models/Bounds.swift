// What a number may be that comes over Redis. Anybody who reaches Redis can write there, and what is broken writes anything: so every number is
// checked once, where its message is decoded, and nobody behind that has to mind an overflow. Names are checked in `AgentID` and `Hello`.
// When adding a number to a message that somebody counts with, compares in Lua or stores, also: a line in that message's `fault`, and in
// BoundsTests.

enum Bounds {
  /// Counts, sequences, offsets, sizes: exact in Lua and in whatever else reads JSON's numbers as floats, and far from where sums overflow.
  static let whole: Range<Int64> = 0..<1 << 53

  /// What is wrong with a number, as a sentence; nil where nothing is, or where there is none.
  static func fault<Number: BinaryInteger>(_ name: String, _ number: Number?, in bounds: Range<Int64> = whole) -> String? {
    guard let number, number < bounds.lowerBound || number >= bounds.upperBound else { return nil }
    return "\(name) is \(number), which is not between \(bounds.lowerBound) and \(bounds.upperBound - 1)"
  }
}

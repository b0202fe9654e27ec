// Random numbers by seed: SplitMix64, so that the same seed gives the same plan and the same tasks on every machine and with every Swift.

struct Dice {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  /// Of a stream of its own for each `use`, so that a change of one leaves the others as they were.
  init(seed: UInt64, use: String) {
    state = seed
    for byte in use.utf8 { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// 0 ≤ the number < `bound`.
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }

  /// 0 ≤ the number < 1.
  mutating func fraction() -> Double { Double(next() >> 11) / 9_007_199_254_740_992 }

  mutating func one<T>(of values: [T]) -> T { values[below(values.count)] }

  /// One of them, each as often as its weight says.
  mutating func weighted<T>(_ values: [(weight: Int, value: T)]) -> T {
    var rest = below(values.reduce(0) { $0 + $1.weight })
    for (weight, value) in values {
      if rest < weight { return value }
      rest -= weight
    }
    return values[values.count - 1].value
  }
}

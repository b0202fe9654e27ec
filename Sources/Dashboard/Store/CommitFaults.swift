// "Done, but the caller saw an error", for the chaos harness and tests: of so many commits, one is reported as failed although it is on the disk.
// Only in debug builds, and only where the environment asks for it: MUSTER_FAULTS="commit=0.01,seed=7" (docs/chaos.md). A release build
// holds none of this.
//
// Invariant: no clock and no other source of chance than the seed: the n-th commit of a process has the same fate each time.

#if DEBUG
  import Glibc

  struct CommitFaults: Sendable {
    /// The first commits are those of a start, which may fail and says so; what is looked for lies behind it.
    private static let spared = 20
    private let share: Double
    private var state: UInt64
    private var commits = 0

    /// nil without the variable, or where it says nothing of commits.
    init?(_ text: String?) {
      var values: [Substring: Substring] = [:]
      for part in (text ?? "").split(separator: ",") {
        let pair = part.split(separator: "=", maxSplits: 1)
        if pair.count == 2 { values[pair[0]] = pair[1] }
      }
      guard let share = values["commit"].flatMap({ Double($0) }), share > 0 else { return nil }
      self.share = share
      state = values["seed"].flatMap { UInt64($0) } ?? 0
    }

    static func ofEnvironment() -> CommitFaults? { CommitFaults(getenv("MUSTER_FAULTS").map { String(cString: $0) }) }

    /// Whether the commit that was just done is to be told as failed.
    mutating func isDue() -> Bool {
      commits += 1
      // SplitMix64.
      state &+= 0x9e37_79b9_7f4a_7c15
      var mixed = state
      mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
      mixed ^= mixed >> 31
      return commits > Self.spared && Double(mixed >> 11) / 9_007_199_254_740_992 < share
    }
  }
#endif

// What a task asked for about starting again (API.md, "Body of a task": `retries`, `retryDelay`, `retryOn`). Without being asked a run has
// one attempt. When adding a verdict, also: decide here whether it may be retried.

public struct Retries: Sendable, Equatable {
  /// Attempts after the first, 0 to `most`.
  public var count: Int
  /// The wait before the second attempt; it doubles with each further one, up to `longestDelay`.
  public var delay: Duration
  /// The verdicts after which there is another attempt, all of them out of `allowed`.
  public var on: Set<RunState>

  public init(count: Int = 0, delay: Duration = defaultDelay, on: Set<RunState> = defaultOn) {
    self.count = count
    self.delay = delay
    self.on = on
  }

  public static let none = Retries()
  public static let most = 100
  public static let defaultDelay: Duration = .seconds(2)
  /// Where the doubling ends, and the largest `retryDelay`.
  public static let longestDelay: Duration = .seconds(3600)
  /// The jitter comes on top: up to this part of the delay, so that ten thousand hosts that failed together do not start together.
  public static let jitter = 0.25
  /// `lost` may be running still or have done its work: only who says that the command bears it gets it again.
  public static let defaultOn: Set<RunState> = [.failed, .timedOut]
  /// In the order in which they are listed.
  public static let allowed: [RunState] = [.failed, .timedOut, .lost]

  public var attempts: Int { count + 1 }

  /// Whether an attempt that ended so is followed by another one, if nobody minds.
  public func follows(_ attempt: Int, _ verdict: RunState) -> Bool { attempt < attempts && on.contains(verdict) }

  /// The wait before an attempt: never less than asked for.
  /// - Parameter random: from 0 to 1.
  public func wait(before attempt: Int, random: Double) -> Duration {
    let doubled = (1..<max(1, attempt - 1)).reduce(delay) { wait, _ in min(wait * 2, Self.longestDelay) }
    return min(doubled, Self.longestDelay) * (1 + Self.jitter * min(max(random, 0), 1))
  }

  /// The most that `wait` can be.
  public func longestWait(before attempt: Int) -> Duration { wait(before: attempt, random: 1) }

  /// `failed,timedOut`, as the store keeps it.
  public var text: String { Self.allowed.filter(on.contains).map(\.rawValue).joined(separator: ",") }

  /// What a text names; what it cannot name is left out.
  public static func verdicts(_ text: String) -> Set<RunState> {
    Set(text.split(separator: ",").compactMap { RunState(rawValue: String($0)) }).intersection(allowed)
  }
}

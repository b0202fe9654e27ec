// The query of a target: `name=value` pairs in their order, percent-decoded, a plus sign read as a space.

/// A request's query. A name without `=` has an empty value; a repeated name keeps all its values.
public struct Query: Sendable, Hashable {
  private var pairs: [Pair] = []

  private struct Pair: Sendable, Hashable {
    var name: String
    var value: String
  }

  /// No query.
  public init() {}

  /// Parts that cannot be decoded are left out; the parser refuses such a request before it comes here.
  init(_ encoded: ArraySlice<UInt8>) {
    for part in encoded.split(separator: UInt8(ascii: "&")) {
      let halves = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard let first = halves.first, let name = PercentCoding.text(first, plusIsSpace: true) else { continue }
      let second = halves.count > 1 ? halves[1] : []
      guard let value = PercentCoding.text(second, plusIsSpace: true) else { continue }
      pairs.append(Pair(name: name, value: value))
    }
  }

  /// The first value of `name`, or nil where the query does not have it.
  public subscript(_ name: String) -> String? { pairs.first { $0.name == name }?.value }

  /// All values of `name`, in their order.
  public func all(_ name: String) -> [String] { pairs.filter { $0.name == name }.map(\.value) }

  /// Each name once, in the order of first appearance.
  public var names: [String] {
    var seen: Set<String> = []
    return pairs.map(\.name).filter { seen.insert($0).inserted }
  }

  public var isEmpty: Bool { pairs.isEmpty }
}

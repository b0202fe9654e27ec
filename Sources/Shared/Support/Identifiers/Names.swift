// The rules of names (API.md, Conventions) and "did you mean". Names are uuids, projects and queues; they become Redis
// keys and file names, which is why so few characters are allowed.

/// Words that routes and ids already use.
public let reservedNames: Set<String> = ["uuid", "project", "queue", "tasks", "all"]

/// Why `name` cannot name an agent, a project or a queue, as the rest of a sentence ("must not …"); `nil` when it can.
public func nameFault(_ name: String) -> String? {
  if name.isEmpty { return "must not be empty" }
  for scalar in name.unicodeScalars {
    switch scalar {
    case "A"..."Z", "a"..."z", "0"..."9", "_", ".", "-": continue
    case " ": return "must not contain a space (allowed: A-Z a-z 0-9 _ . -)"
    default:
      let shown = scalar.properties.generalCategory == .control ? scalar.escaped(asASCII: true) : "'\(scalar)'"
      return "must not contain \(shown) (allowed: A-Z a-z 0-9 _ . -)"
    }
  }
  if name.utf8.count > 64 { return "must not be longer than 64 characters" }
  if reservedNames.contains(name) { return "must not be the reserved word \"\(name)\"" }
  return nil
}

/// The one of `known` that `name` most likely meant: by edit distance, letter case apart, at most a third of its length.
/// Among equals the first. `nil` when none is near.
public func nearestName<Names: Sequence<String>>(to name: String, among known: Names) -> String? {
  // Longer than any name of ours: not a slip, and not worth the square of its length.
  guard !name.isEmpty, name.utf8.count <= 128 else { return nil }
  let wanted = Array(name.lowercased().utf8)
  var best: (name: String, distance: Int)?
  for candidate in known {
    let distance = editDistance(wanted, Array(candidate.lowercased().utf8))
    let allowed = max(1, min(wanted.count, candidate.utf8.count) / 3)
    if distance <= allowed, distance < best?.distance ?? .max { best = (candidate, distance) }
  }
  return best?.name
}

/// How many bytes have to be inserted, removed, replaced or swapped with their neighbour to make one of the other.
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var beforeLast: [Int] = []
  var last = Array(0...right.count)
  for row in 0..<left.count {
    var current = [row + 1]
    current.reserveCapacity(right.count + 1)
    for column in 0..<right.count {
      var cost = min(last[column + 1], current[column]) + 1
      cost = min(cost, last[column] + (left[row] == right[column] ? 0 : 1))
      if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
        cost = min(cost, beforeLast[column - 1] + 1)
      }
      current.append(cost)
    }
    beforeLast = last
    last = current
  }
  return last[right.count]
}

// docs/rules.md is read by people who change a rule. What it says about tests is true: each rule of the explorer has its row, each test that a row
// names is there, and a line above that test names the rule.
import Foundation
import Testing

@testable import explore

@Suite struct RuleTableTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Rule → names of tests, from both tables.
  private func rows() throws -> [String: [String]] {
    let text = try String(contentsOf: Self.root.appendingPathComponent("docs/rules.md"), encoding: .utf8)
    var rows: [String: [String]] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("| ") && !line.hasPrefix("| rule |") {
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      guard let rule = cells.first, let forcedBy = cells.last, cells.count >= 3 else { continue }
      rows[rule] = forcedBy.split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }.map { String($0.element) }
    }
    return rows
  }

  /// Name of a test → the comments and attributes right above it.
  private func tests() throws -> [String: String] {
    var found: [String: String] = [:]
    let files = FileManager.default.enumerator(
      at: Self.root.appendingPathComponent("Tests"), includingPropertiesForKeys: nil)
    for case let file as URL in try #require(files) where file.pathExtension == "swift" {
      var above: [Substring] = []
      for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false) {
        let words = line.drop { $0 == " " }
        if words.hasPrefix("//") || words.hasPrefix("@Test"), !words.contains("func ") {
          above.append(words)
          continue
        }
        if words.hasPrefix("@Test") || words.hasPrefix("func "), let name = words.firstRange(of: "func ") {
          found[String(words[name.upperBound...].prefix { $0.isLetter || $0.isNumber })] = above.joined(separator: "\n")
        }
        above = []
      }
    }
    return found
  }

  @Test func everyRuleIsForcedByTestsThatNameIt() throws {
    let (rows, tests) = (try rows(), try tests())
    for rule in Rules.Name.allCases { #expect(rows[rule.rawValue]?.isEmpty == false, "\(rule.rawValue) has no row, or no test") }
    for (rule, names) in rows {
      #expect(!names.isEmpty, "\(rule): no test")
      for name in names {
        guard let above = tests[name] else {
          Issue.record("\(rule): there is no test \(name)")
          continue
        }
        #expect(above.contains("`\(rule)`"), "\(rule): \(name) does not name it")
      }
    }
  }
}

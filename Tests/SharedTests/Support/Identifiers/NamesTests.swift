import Testing

@testable import Shared

@Suite struct NamesTests {
  @Test(arguments: ["1001001001", "web-1", "a", "A.b_c-9", ".", "-", String(repeating: "x", count: 64), "Tasks", "projects"])
  func aNameWithinTheRulesIsFine(_ name: String) {
    #expect(nameFault(name) == nil)
  }

  static let faults: [(name: String, reason: String)] = [
    ("", "must not be empty"), ("a b", "must not contain a space (allowed: A-Z a-z 0-9 _ . -)"),
    ("a/b", "must not contain '/' (allowed: A-Z a-z 0-9 _ . -)"), ("a\n", "must not contain \\n (allowed: A-Z a-z 0-9 _ . -)"),
    ("é", "must not contain 'é' (allowed: A-Z a-z 0-9 _ . -)"), ("{a}", "must not contain '{' (allowed: A-Z a-z 0-9 _ . -)"),
    (String(repeating: "x", count: 65), "must not be longer than 64 characters"),
    ("uuid", "must not be the reserved word \"uuid\""), ("project", "must not be the reserved word \"project\""),
    ("queue", "must not be the reserved word \"queue\""), ("tasks", "must not be the reserved word \"tasks\""),
    ("all", "must not be the reserved word \"all\""),
  ]

  @Test(arguments: faults)
  func aNameOutsideTheRulesSaysWhy(_ name: String, _ reason: String) {
    #expect(nameFault(name) == reason)
  }

  static let distances: [(String, String, Int)] = [
    ("", "", 0), ("abc", "abc", 0), ("", "abc", 3), ("abc", "", 3), ("port", "prot", 1), ("port", "ports", 1), ("port", "pot", 1),
    ("port", "part", 1), ("kitten", "sitting", 3), ("ca", "abc", 3), ("taskname", "tsaknaem", 2),
  ]

  @Test(arguments: distances)
  func editDistanceCountsSwapsAsOne(_ left: String, _ right: String, _ distance: Int) {
    #expect(editDistance(Array(left.utf8), Array(right.utf8)) == distance)
  }

  @Test func theNearestNameIsSuggestedAndAFarOneIsNot() {
    let known = ["taskname", "args", "env", "cwd", "timeout"]
    #expect(nearestName(to: "task_name", among: known) == "taskname")
    #expect(nearestName(to: "TaskName", among: known) == "taskname")
    #expect(nearestName(to: "arg", among: known) == "args")
    #expect(nearestName(to: "timout", among: known) == "timeout")
    #expect(nearestName(to: "shell", among: known) == nil)
    #expect(nearestName(to: "", among: known) == nil)
    #expect(nearestName(to: String(repeating: "x", count: 100_000), among: known) == nil)
  }
}

import Shared
import Testing

@Suite struct FieldReaderTests {
  /// Reads one of everything, as a route would.
  private func read(_ body: JSONValue) -> [FieldFault] {
    var reader = FieldReader(body)
    _ = reader.requiredString("taskname", bytes: 1...10)
    _ = reader.name("uuid")
    _ = reader.strings("args", count: 0...3, bytes: 0...10)
    _ = reader.stringMap("env")
    _ = reader.bool("flag")
    _ = reader.integer("count", in: 1...5)
    _ = reader.seconds("timeout")
    do throws(FieldFaults) {
      try reader.finish()
      return []
    } catch {
      return error.faults
    }
  }

  @Test func goodFieldsAreRead() throws {
    var reader = FieldReader([
      "taskname": "id", "uuid": "web1", "args": ["a", ""], "env": ["B": "2", "A": "1"], "flag": true, "count": 3, "timeout": -0.5,
      "absent": .null,
    ])
    #expect(reader.requiredString("taskname") == "id")
    #expect(reader.requiredName("uuid") == "web1")
    #expect(reader.strings("args") == ["a", ""])
    let env = reader.stringMap("env")
    #expect(env?.map(\.key) == ["B", "A"])
    #expect(reader.bool("flag") == true)
    #expect(reader.integer("count") == 3)
    #expect(reader.seconds("timeout") == .milliseconds(-500))
    #expect(reader.string("absent") == nil)
    #expect(!reader.has("absent") && reader.has("flag"))
    try reader.finish()
  }

  static let single: [(body: JSONValue, fault: FieldFault)] = [
    ([:], FieldFault(.badField, "taskname", "\"taskname\" is required")),
    (["taskname": .null], FieldFault(.badField, "taskname", "\"taskname\" is required")),
    (["taskname": ""], FieldFault(.badField, "taskname", "\"taskname\" must not be empty")),
    (["taskname": "12345678901"], FieldFault(.badField, "taskname", "\"taskname\" must have 1 to 10 bytes, it has 11")),
    (["taskname": "ééééééé"], FieldFault(.badField, "taskname", "\"taskname\" must have 1 to 10 bytes, it has 14")),
    (["taskname": "a\0b"], FieldFault(.badField, "taskname", "\"taskname\" must not contain NUL")),
    (["taskname": 5], FieldFault(.badField, "taskname", "\"taskname\" must be a string, it is a number")),
    (
      ["taskname": "x", "uuid": "a b"],
      FieldFault(.badName, "uuid", "\"uuid\" must not contain a space (allowed: A-Z a-z 0-9 _ . -)")
    ),
    (["taskname": "x", "uuid": 1001], FieldFault(.badField, "uuid", "\"uuid\" must be a string, it is a number")),
    (["taskname": "x", "args": "a b"], FieldFault(.badField, "args", "\"args\" must be a list of strings, it is a string")),
    (["taskname": "x", "args": ["a", 1]], FieldFault(.badField, "args[1]", "\"args[1]\" must be a string, it is a number")),
    (
      ["taskname": "x", "args": ["a", "b", "c", "d"]],
      FieldFault(.badField, "args", "\"args\" must have at most 3 elements, it has 4")
    ),
    (["taskname": "x", "env": ["A": .null]], FieldFault(.badField, "env.A", "\"env.A\" must be a string, it is null")),
    (["taskname": "x", "env": []], FieldFault(.badField, "env", "\"env\" must be an object of strings, it is a list")),
    (["taskname": "x", "flag": "yes"], FieldFault(.badField, "flag", "\"flag\" must be true or false, it is a string")),
    (["taskname": "x", "count": 1.5], FieldFault(.badField, "count", "\"count\" must be a whole number, it is a number")),
    (["taskname": "x", "count": 6], FieldFault(.badField, "count", "\"count\" must be between 1 and 5, it is 6")),
    (["taskname": "x", "timeout": "5s"], FieldFault(.badField, "timeout", "\"timeout\" must be a number, it is a string")),
    (
      ["taskname": "x", "timeout": 1e300],
      FieldFault(.badField, "timeout", "\"timeout\" must not be more than 1000000000 seconds")
    ),
    (
      ["taskname": "x", "tiemout": 1],
      FieldFault(.unknownField, "tiemout", "\"tiemout\" is not a field of this body", hint: "did you mean \"timeout\"?")
    ),
    (
      ["taskname": "x", "zzz": .null],
      FieldFault(
        .unknownField, "zzz", "\"zzz\" is not a field of this body",
        hint: "known fields: taskname, uuid, args, env, flag, count, timeout")
    ),
  ]

  @Test(arguments: single)
  func aBadFieldIsNamedWithItsReason(_ body: JSONValue, _ fault: FieldFault) {
    #expect(read(body) == [fault])
  }

  @Test func allFaultsComeAtOnce() {
    let faults = read(["uuid": "all", "args": [1, 2], "count": "x", "nope": 1])
    #expect(faults.map(\.field) == ["taskname", "uuid", "args[0]", "args[1]", "count", "nope"])
    #expect(faults.map(\.code.rawValue) == ["bad_field", "bad_name", "bad_field", "bad_field", "bad_field", "unknown_field"])
  }

  @Test func aBodyOfNothingButFaultsIsToldTheFirstOfThemAndHowManyMore() {
    // As many as a body of a megabyte holds: each would cost an edit distance to every known field, and a sentence in the answer.
    let unknown = (0..<100_000).map { JSONObject.Member(key: "k\($0)", value: 1) }
    let faults = read(.object(JSONObject([JSONObject.Member(key: "taskname", value: "x")] + unknown)))
    #expect(faults.count == 21)
    #expect(faults.prefix(20).map(\.field) == (0..<20).map { "k\($0)" })
    #expect(faults.last == FieldFault(.unknownField, nil, "and 99980 more that are not told one by one"))

    let numbers = read(["taskname": "x", "env": .object(JSONObject(unknown))])
    #expect(numbers.count == 21)
    #expect(numbers.last == FieldFault(.badField, nil, "and 99980 more that are not told one by one"))
    // A fault that is only counted is still one, and no other is made of it.
    var reader = FieldReader(["a": .array((0..<20).map { .integer($0) }), "b": 1])
    _ = reader.strings("a")
    _ = reader.requiredString("b")
    #expect(throws: FieldFaults.self) { try reader.finish() }
    #expect(reader.faults.count == 20)
    do throws(FieldFaults) { try reader.finish() } catch {
      #expect(error.faults.last == FieldFault(.badField, nil, "and 1 more that are not told one by one"))
    }
  }

  @Test func aBodyThatIsNoObjectIsOneFault() {
    #expect(read([1]) == [FieldFault(.badField, nil, "the body must be a JSON object, it is a list")])
  }
}

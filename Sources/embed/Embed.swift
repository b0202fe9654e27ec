// Build tool: writes the files of `public/` and `migrations/` as Swift source. Usage: embed <package folder> <output file>
import Foundation

@main
struct EmbedTool {
  static func main() throws {
    let root = URL(fileURLWithPath: CommandLine.arguments[1])
    var source = "// Made by the embed tool from public/ and migrations/.\nenum EmbeddedResources {\n"
    for (name, folder) in [("pages", "public"), ("migrations", "migrations")] {
      source += "  static let \(name): [(path: String, base64: String)] = [\n"
      let base = root.appendingPathComponent(folder).path
      for path in try FileManager.default.subpathsOfDirectory(atPath: base).sorted() {
        let file = base + "/" + path
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: file, isDirectory: &isFolder), !isFolder.boolValue, !path.hasPrefix(".")
        else { continue }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        source += "    (\"\(path)\", \"\(bytes.base64EncodedString())\"),\n"
      }
      source += "  ]\n"
    }
    source += "}\n"
    try source.write(toFile: CommandLine.arguments[2], atomically: true, encoding: .utf8)
  }
}

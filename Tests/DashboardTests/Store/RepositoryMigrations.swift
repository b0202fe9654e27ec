import Foundation

@testable import Dashboard

/// The repository's migrations, all of them.
func migrations(_ file: String = #filePath) throws -> [Migration] {
  let root = file.split(separator: "/").dropLast(4).joined(separator: "/")
  let folder = "/\(root)/migrations"
  let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".sql") }
  return try names.sorted().map { name in
    Migration(name: String(name.dropLast(4)), sql: try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8))
  }
}

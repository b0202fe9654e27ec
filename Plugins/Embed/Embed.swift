// Compiles the page and the migrations into the dashboard, so that the program needs no file beside itself. Runs whenever one of them changed.
import Foundation
import PackagePlugin

@main
struct Embed: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    let root = context.package.directoryURL
    let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedResources.swift")
    var inputs: [URL] = []
    for folder in ["public", "migrations"] {
      let files = FileManager.default.enumerator(
        at: root.appending(path: folder), includingPropertiesForKeys: [.isRegularFileKey])
      while let file = files?.nextObject() as? URL {
        if try file.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true { inputs.append(file) }
      }
    }
    return [
      .buildCommand(
        displayName: "Embedding pages and migrations",
        executable: try context.tool(named: "embed").url,
        arguments: [root.path, output.path],
        inputFiles: inputs,
        outputFiles: [output])
    ]
  }
}

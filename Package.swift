// swift-tools-version: 6.1
// The modules and what each may know: docs/ARCHITECTURE.md. Packages are pinned; C libraries come from Debian (scripts/bootstrap).
import PackageDescription

let collections = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")

let package = Package(
  name: "muster",
  products: [
    .executable(name: "dashboard", targets: ["Dashboard"]),
    .executable(name: "agent", targets: ["Agent"]),
    .executable(name: "chaos", targets: ["Chaos"]),
    // Only for tests: preloaded into programs whose wall clock is set.
    .library(name: "FakeClockShim", type: .dynamic, targets: ["FakeClockShim"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", exact: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
  ],
  targets: [
    .systemLibrary(name: "CHiredis"),
    .systemLibrary(name: "CEpoll"),
    .target(name: "HTTP", dependencies: ["CEpoll", httpTypes]),
    .target(name: "Redis", dependencies: ["CHiredis", collections]),
    .target(name: "Shared", dependencies: ["Redis", logging]),
    .executableTarget(name: "embed"),
    .plugin(name: "Embed", capability: .buildTool(), dependencies: ["embed"]),
    .executableTarget(
      name: "Dashboard", dependencies: ["Shared", "HTTP", "Redis", grdb, lifecycle, arguments, httpTypes, logging],
      plugins: ["Embed"]),
    .target(name: "CSpawn"),
    .target(name: "Runner", dependencies: ["CSpawn"]),
    .executableTarget(
      name: "Agent",
      dependencies: ["Shared", "HTTP", "Redis", "Runner", "CSpawn", "CEpoll", arguments, crypto, httpTypes, logging]),
    // The harness that kills things, and the search of every order of faults: no part of what is shipped.
    .executableTarget(name: "Chaos", dependencies: ["Shared", "CSpawn", arguments, crypto]),
    .executableTarget(name: "explore", dependencies: ["Shared"], path: "Sources/Explore"),
    // Tests. Servers and helper children of theirs are targets too.
    .target(name: "RedisTestSupport", dependencies: ["Redis"], path: "Tests/RedisTestSupport"),
    .target(name: "FakeClockShim", path: "Tests/FakeClockShim"),
    .executableTarget(name: "RunnerTestChild", dependencies: ["Runner"], path: "Tests/RunnerTestChild"),
    .executableTarget(name: "HTTPTestServer", dependencies: ["HTTP"], path: "Tests/HTTPTestServer"),
    .testTarget(name: "HTTPTests", dependencies: ["HTTP", "HTTPTestServer"]),
    .testTarget(name: "RedisTests", dependencies: ["Redis", "RedisTestSupport"]),
    .testTarget(name: "SharedTests", dependencies: ["Shared", "RedisTestSupport", logging], exclude: ["Golden"]),
    .testTarget(name: "ExploreTests", dependencies: ["explore", "Shared", "Redis", "RedisTestSupport"]),
    .testTarget(name: "RunnerTests", dependencies: ["Runner", "CSpawn", "RunnerTestChild"], exclude: ["Golden"]),
    .testTarget(name: "DashboardTests", dependencies: ["Dashboard", "Shared", "HTTP", "Redis", "RedisTestSupport", grdb]),
    .testTarget(
      name: "AgentTests", dependencies: ["Agent", "Shared", "Redis", "Runner", "RedisTestSupport", "RunnerTestChild", logging]),
    .testTarget(name: "PageTests", dependencies: ["Dashboard", "Agent"]),
    .testTarget(name: "ChaosTests", dependencies: ["Chaos", "Shared", "CSpawn", "RedisTestSupport", "Dashboard", "Agent"]),
    .testTarget(name: "EndToEndTests", dependencies: ["Dashboard", "Agent", "CSpawn", "RedisTestSupport", "Shared", "Redis"]),
  ],
  swiftLanguageModes: [.v6]
)

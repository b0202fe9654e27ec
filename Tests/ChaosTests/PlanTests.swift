// What holds of every plan, over many seeds.
import Testing

@testable import Chaos

@Suite struct PlanTests {
  private static let names: [PlanName] = [.redis, .restore, .unclosable]

  @Test func theSameSeedGivesTheSamePlan() {
    for name in Self.names {
      let plan = Plan(name, seed: 7, seconds: 120, agents: 3)
      #expect(plan.steps == Plan(name, seed: 7, seconds: 120, agents: 3).steps)
      #expect(plan.steps != Plan(name, seed: 8, seconds: 120, agents: 3).steps)
      #expect(plan.kills > 20)
    }
  }

  @Test func everythingRunsAgainAtTheEndOfEachPlan() {
    for name in Self.names {
      for seed in 0..<100 {
        var down: Set<Program> = []
        var held: Set<Program> = []
        var linked: [Program: LinkMode] = [:]
        for step in Plan(name, seed: UInt64(seed), seconds: 90, agents: 3).steps {
          switch step.action {
          case .kill(let program), .terminate(let program):
            #expect(!down.contains(program) && !held.contains(program), "\(step) of seed \(seed)")
            down.insert(program)
          case .killAgentAndRunners(let agent): down.insert(.agent(agent))
          case .wipeRedis: down.insert(.redis)
          case .copyDatabase, .restoreDatabase: down.insert(.dashboard)
          case .start(let program, _): #expect(down.remove(program) != nil, "\(step) of seed \(seed)")
          case .hold(let program): #expect(!down.contains(program) && held.insert(program).inserted, "\(step) of seed \(seed)")
          case .release(let program): #expect(held.remove(program) != nil, "\(step) of seed \(seed)")
          case .link(let program, let mode): linked[program] = mode
          case .killRunner, .holdRunner, .releaseRunners, .blow, .flushRedis: break
          }
        }
        #expect(down.isEmpty && held.isEmpty && linked.values.allSatisfy { $0 == .pass }, "seed \(seed)")
      }
    }
  }

  @Test func onlyOnePlanRestoresTheDatabaseWhileRedisForgets() {
    for seed in 0..<100 {
      for name in [PlanName.main, .redis, .restore] {
        let plan = Plan(name, seed: UInt64(seed), seconds: 300, agents: 2)
        let restores = plan.steps.contains { $0.action == .restoreDatabase }
        let forgets = plan.steps.contains { $0.action == .flushRedis || $0.action == .wipeRedis } || plan.redisForgets
        #expect(!(restores && forgets), "seed \(seed)")
      }
    }
    for seed in 0..<100 {
      #expect(
        Plan(.restore, seed: UInt64(seed), seconds: 60, agents: 2).steps.contains { $0.action == .restoreDatabase },
        "seed \(seed)")
      #expect(Plan(.redis, seed: UInt64(seed), seconds: 60, agents: 2).steps.contains { $0.action == .wipeRedis }, "seed \(seed)")
    }
    #expect(Plan(.unclosable, seed: 3, seconds: 300, agents: 2).steps.contains { $0.action == .restoreDatabase })
  }
}

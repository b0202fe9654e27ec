// The page in headless Chromium against the real dashboard and agent. A fault is thrown as a sentence that says what the page did not do.
// To work on the page without building: MUSTER_TEST_PUBLIC=public swift test --filter PageTests
import Foundation
import Testing

@Suite(
  .serialized, .enabled(if: Chromium.path != nil, "chromium is not installed; scripts/bootstrap installs it"),
  .timeLimit(.minutes(5)))
struct PageTests {
  @Test func aTaskGoesFromTheFormToItsVerdict() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      try page.show(stage.address + "/#/agents")
      try page.wait(
        "the agent is listed online",
        "[...document.querySelectorAll('.agent')].some(row => /online\\s*web-1/.test(row.innerText))")
      try page.wait("the counter says one online", "document.querySelector('[data-count=online] b').textContent === '1'")

      let gate = stage.folder + "/gate"
      try page.show(stage.address + "/#/new?target=web")
      try page.wait("the number of hosts is told", "document.getElementById('target-says').textContent.includes('1 host')")
      try page.type("echo first; while [ ! -e \(gate) ]; do sleep 0.05; done; echo \"second & last\" >&2; exit 3")
      try page.wait("the curl line says the same", "document.querySelector('aside code').textContent.includes('echo first')")
      try page.press("Enter", control: true)

      try page.wait("the run is shown", "location.hash.startsWith('#/runs/web-1-')")
      try page.wait("it runs", "document.querySelector('.run-state [data-state=running]')")
      try page.wait("output is there while the command runs", "document.querySelector('.log-rows')?.innerText.includes('first')")
      try page.require("there is no verdict yet", "document.querySelector('.run-end').textContent === ''")
      _ = FileManager.default.createFile(atPath: gate, contents: nil)
      try page.wait("the verdict comes by itself", "document.querySelector('.run-state').innerText === 'failed'")
      try page.require("with its exit code", "document.querySelector('.run-end').textContent === 'exit 3'")
      try page.wait("the rest of the output too", "document.querySelector('.log-rows').innerText.includes('second & last')")
      try page.wait("it is told to screen readers", "document.getElementById('said').textContent.includes('failed')")

      try page.value("document.querySelector('[data-nav=tasks]').click()")
      try page.wait(
        "the task is listed with its state", "/failed[\\s\\S]*echo first/.test(document.querySelector('.row.task')?.innerText)")
      try page.value("history.back()")
      try page.wait("back shows the run again", "document.querySelector('.log-rows')?.innerText.includes('first')")
    }
  }

  @Test func anOpenRunIsStoppedAfterAskingOnce() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      try page.show(stage.address + "/#/new?target=web-1")
      try page.wait("the host is known", "document.getElementById('target-says').textContent.includes('one host')")
      try page.type("trap '' TERM; echo deaf; while :; do sleep 0.1; done")
      try page.press("Enter", control: true)
      try page.wait("it runs", "document.querySelector('.log-rows')?.innerText.includes('deaf')")
      let button = "document.querySelector('.run-stop')"
      try page.require("it can be stopped", "!\(button).hidden && \(button).textContent === 'Stop…'")
      try page.value("\(button).click()")
      try page.wait("it asks first", "document.querySelector('dialog[open]')?.innerText.includes('Stop this run on web-1?')")
      try page.press("Escape")
      try page.wait("left alone, nothing is asked of it", "!document.querySelector('dialog[open]')")
      try page.require("and nothing is shown", "document.querySelector('.run-asked').textContent === ''")
      try page.value("\(button).click()")
      try page.wait("it asks again", "document.querySelector('dialog[open] .danger')")
      try page.value("document.querySelector('dialog[open] .danger').click()")
      try page.wait("since when is told", "document.querySelector('.run-asked').textContent.startsWith('asked to stop')")
      try page.wait("a harder way is offered", "\(button).textContent === 'Kill…'")
      try page.value("\(button).click()")
      try page.wait("it asks for that too", "document.querySelector('dialog[open]')?.innerText.includes('Kill this run')")
      try page.value("document.querySelector('dialog[open] .danger').click()")
      try page.wait("the verdict comes by itself", "document.querySelector('.run-state [data-state=killed]')")
      try page.require(
        "with its proof, and nothing to stop any more",
        "/signalled, 0 left/.test(document.querySelector('.run-end').textContent) && \(button).hidden")
    }
  }

  @Test func theLogFollowsUntilItIsScrolledUp() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      let gate = stage.folder + "/gate"
      try page.show(stage.address + "/#/new?target=web-1")
      try page.wait("the host is known", "document.getElementById('target-says').textContent.includes('one host')")
      try page.type("seq 20000; while [ ! -e \(gate) ]; do sleep 0.05; done; seq 20001 20128")
      try page.press("Enter", control: true)
      let last = "[...document.querySelectorAll('.log-row .ln')].at(-1)?.textContent"
      try page.wait("it follows to the end", "\(last) === '20000'")
      try page.require("only what is seen is in the page", "document.querySelectorAll('.log-row').length < 200")
      try page.require("nothing offers to jump", "document.querySelector('.log-jump').hidden")

      // Again where it was drawn before it had seen the first time: while it follows, a drawing goes to the end.
      try page.wait(
        "scrolled up, it offers to jump",
        "!document.querySelector('.log-jump').hidden || (document.querySelector('.log-scroll').scrollTop -= 3000, false)")
      // All of it is drawn.
      try page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
      let top = try page.text("document.querySelector('.log-rows .ln').textContent")
      _ = FileManager.default.createFile(atPath: gate, contents: nil)
      try page.wait(
        "new lines are counted", "document.querySelector('.log-jump').textContent === 'Jump to the end (128 new lines)'")
      try page.require("what was being read stays", "document.querySelector('.log-rows .ln').textContent === '\(top)'")
      try page.value("document.querySelector('.log-jump').click()")
      try page.wait("the jump leads to the end", "\(last) === '20128' && document.querySelector('.log-jump').hidden")

      let run = try page.text("location.hash.split('?')[0]")
      try page.show("\(stage.address)/?again\(run)?line=777")
      try page.wait("a line's address shows that line", "document.querySelector('.log-row.marked .ln')?.textContent === '777'")
    }
  }

  @Test func earlierAttemptsAreShownAndCanBeRead() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      let gate = stage.folder + "/gate"
      try page.show(stage.address + "/#/new")
      let body =
        "{taskname: 'if [ -e \(gate) ]; then echo second; else touch \(gate); echo first; exit 7; fi', retries: 2, retryDelay: 1}"
      let post = "fetch('/v1/producer/web-1/task', {method: 'POST', body: JSON.stringify(\(body))}).then(a => a.json())"
      try page.value("\(post).then(task => location.hash = '#/runs/' + task.auuid)")
      try page.wait("the run is shown", "location.hash.startsWith('#/runs/web-1-')")
      try page.wait("it succeeds with its second attempt", "document.querySelector('.run-state [data-state=succeeded]')")
      try page.wait(
        "the attempts are told",
        "/Attempt 2 of up to 3\\s*1\\s*failed\\s*exit 7/.test(document.querySelector('.run-attempts').innerText)")
      try page.wait("the newest one's output is shown", "document.querySelector('.log-rows').innerText.includes('second')")
      try page.require("and only that", "!document.querySelector('.log-rows').innerText.includes('first')")
      try page.value("document.querySelector('.run-attempts a').click()")
      try page.wait("an earlier one's output can be read", "document.querySelector('.log-rows')?.innerText.includes('first')")
      try page.require("by its address", "location.hash.endsWith('?attempt=1')")
      try page.require("without the newest one's", "!document.querySelector('.log-rows').innerText.includes('second')")
    }
  }

  @Test func mistakesAreSaidWhereTheyHappen() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      try page.show(stage.address + "/#/new")
      try page.require("the first field has the focus", "document.activeElement.id === 'target'")
      try page.type("nobody")
      try page.press("Enter")
      try page.type("true")
      try page.press("Enter", control: true)
      try page.wait(
        "an unknown target is told at its field",
        "document.querySelector('[data-field=target] .fault').textContent.includes('no agent and no project is named \"nobody\"')"
      )
      try page.require(
        "the field has the focus", "document.activeElement.id === 'target' && document.activeElement.hasAttribute('aria-invalid')"
      )
      try page.value("document.getElementById('target').value = 'web-1'; document.getElementById('timeout').value = '0'")
      try page.value("document.querySelector('form.new').requestSubmit()")
      try page.wait(
        "a bad option is told at its field",
        "document.querySelector('[data-field=timeout] .fault').textContent.includes('must not be 0')")
      try page.require("the options are unfolded", "document.querySelector('.options').open")

      try page.show(stage.address + "/#/runs/web-1-01ARZ3NDEKTSV4RRFFQ69G5FAV")
      try page.wait("an unknown run is told", "document.querySelector('main .problem')?.textContent.includes('there is no run')")
      try page.show(stage.address + "/#/nowhere")
      try page.wait("an unknown view is told", "document.querySelector('main .problem')?.textContent.includes('no view')")
    }
  }

  @Test func whatAHostWritesStaysText() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      try page.show(stage.address + "/#/new?target=web-1")
      try page.wait("the host is known", "document.getElementById('target-says').textContent.includes('one host')")
      try page.type(
        "printf '<img src=x onerror=alert(1)>\\n\\033[31mred\\033[0m \\000nul \\377bad\\n\\342\\200\\256evil\\n'; true \"<b>&\"")
      try page.press("Enter", control: true)
      try page.wait("it has ended", "document.querySelector('.run-state [data-state=succeeded]')")
      try page.wait("tags are text", "document.querySelector('.log-rows').innerText.includes('<img src=x onerror=alert(1)>')")
      try page.require("and no element", "document.querySelector('main img, main b') === null")
      try page.require("colours are read", "document.querySelector('.log-rows .f1')?.textContent === 'red'")
      try page.require(
        "NUL and bad bytes are seen", "document.querySelector('.log-rows').innerText.includes('⟨00⟩nul \\uFFFDbad')")
      try page.require("direction marks are seen", "document.querySelector('.log-rows').innerText.includes('⟨U+202E⟩evil')")
    }
  }

  @Test func everythingIsReachedByKeyboard() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      try page.show(stage.address + "/")
      try page.wait("the host is on the overview", "document.querySelector('.fleet')?.innerText.includes('web-1')")
      try page.press("g")
      try page.press("a")
      try page.wait("g a: agents", "location.hash === '#/agents' && document.querySelector('.row.agent')")
      try page.press("j")
      try page.wait("j goes to a row", "document.activeElement.dataset.row === 'web-1'")
      try page.press("Enter")
      try page.wait(
        "Enter opens it", "location.hash === '#/agents/web-1' && document.querySelector('.facts')?.innerText.includes('web')")
      try page.press("Escape")
      try page.wait("Esc goes back", "location.hash === '#/agents' && document.activeElement.dataset.row === 'web-1'")
      try page.press("n")
      try page.wait("n: a new task", "location.hash === '#/new' && document.activeElement.id === 'target'")
      try page.type("we")
      try page.wait("targets are completed", "document.querySelectorAll('#targets [role=option]').length === 2")
      try page.press("ArrowDown")
      try page.press("Enter")
      try page.require(
        "Enter takes the first", "document.getElementById('target').value === 'web' && document.activeElement.id === 'taskname'")
      try page.press("Escape")
      try page.press("/")
      try page.wait("/ is the search", "document.activeElement.id === 'search-input'")
      try page.type("web-1")
      try page.press("Enter")
      try page.wait(
        "it finds the host", "location.hash === '#/search?q=web-1' && document.querySelector('main [data-row=\"web-1\"]')")
      try page.press("?")
      try page.wait("? lists the keys", "document.getElementById('keys').open")
      try page.press("Escape")
      try page.wait("Esc closes them", "!document.getElementById('keys').open")
      for (key, place) in [("t", "#/tasks"), ("p", "#/projects"), ("o", "#/")] {
        try page.press("g")
        try page.press(key)
        try page.wait("g \(key): \(place)", "location.hash === '\(place)'")
      }
    }
  }

  @Test func thePageFitsAPhone() async throws {
    try await Stage.with { stage in
      let page = stage.browser
      try page.size(390, 844)
      try page.show(stage.address + "/#/new?target=web")
      try page.wait("the host is known", "document.getElementById('target-says').textContent.includes('1 host')")
      try page.type("echo " + String(repeating: "long", count: 200))
      try page.press("Enter", control: true)
      try page.wait("it has ended", "document.querySelector('.run-state [data-state=succeeded]')")
      let run = try page.text("location.hash")
      let task = try page.text("location.hash.slice(-26)")
      for place in [
        "#/", "#/agents", "#/agents/web-1", "#/tasks", "#/tasks/\(task)", "#/runs", run, "#/projects", "#/new", "#/search?q=long",
      ] {
        for dark in [false, true] {
          try page.size(390, 844, dark: dark)
          try page.show("\(stage.address)/\(place)")
          try page.wait("\(place) has something to show", "document.querySelector('main').innerText.trim().length > 10")
          let wide = try page.value("document.documentElement.scrollWidth - innerWidth") as? Int ?? 1
          guard wide <= 0 else { throw PageFault("\(place) is \(wide) pixels wider than a phone") }
        }
        let ground = try page.text("getComputedStyle(document.documentElement).backgroundColor")
        guard ground == "rgb(20, 22, 26)" else { throw PageFault("\(place) is not dark where the system is: \(ground)") }
      }
    }
  }

  /// Browsers allow six connections to one server, and keep pages that were left for their back button.
  @Test func aPageThatWasLeftKeepsNoConnection() async throws {
    try await Stage.with { stage in
      for count in 1...12 {
        try stage.browser.show("\(stage.address)/?\(count)#/")
        try stage.browser.wait(
          "the host is on overview \(count)", "document.querySelector('.fleet')?.innerText.includes('web-1')")
      }
    }
  }

  @Test func brokenStatesAreSaid() async throws {
    try await Stage.with(agent: false) { stage in
      let page = stage.browser
      try page.show(stage.address + "/#/agents")
      try page.wait(
        "without an agent there is a line to paste", "document.querySelector('.empty')?.innerText.includes('agent start')")
      try page.show(stage.address + "/#/tasks")
      try page.wait("without a task there is one too", "document.querySelector('.empty')?.innerText.includes('curl')")
      stage.stopDashboard()
      try page.wait(
        "a dashboard that is away is told", "/unreachable since \\d\\d:\\d\\d/.test(document.getElementById('bars').innerText)",
        within: 30)
      try page.require(
        "what was there stays, greyed", "document.body.classList.contains('stale') && document.querySelector('.empty')")
      try stage.startDashboard(listen: String(stage.address.dropFirst("http://".count)))
      try page.wait(
        "it comes back by itself",
        "document.getElementById('bars').innerText === '' && !document.body.classList.contains('stale')", within: 40)
    }
  }
}

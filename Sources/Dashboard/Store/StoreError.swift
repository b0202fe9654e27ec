// What can go wrong with the history database. Worded for HTTP in API/APIErrors.swift; for the terminal by `description`.

import GRDB

enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// No room, or the disk does not take what is written: nothing of the write was kept. The same write may succeed later.
  case full(String)
  /// What stands in the file is not what was written: a broken disk, or somebody else's hands.
  case damaged(String)
  /// The database holds migrations that this program does not know.
  case newer(path: String, unknown: [String])
  /// A migration that was applied has another text now.
  case altered(path: String, migration: String)
  /// The file is no database of ours, or cannot be opened.
  case unusable(path: String, String)
  /// After `close()`.
  case closed
  /// Anything else that SQLite says.
  case failed(String)

  var description: String {
    switch self {
    case .full(let reason): "the store cannot take more: \(reason)"
    case .damaged(let reason): "the store is damaged: \(reason); restore a copy of it"
    case .newer(let path, let unknown):
      "\(path) was written by a newer version of this program (it has \(unknown.joined(separator: ", "))); use that version, or another data folder"
    case .altered(let path, let migration):
      "\(path) was made with another text of migration \(migration); migrations never change once they are released"
    case .unusable(let path, let reason): "\(path) cannot be used as the store: \(reason)"
    case .closed: "the store is closed"
    case .failed(let reason): "the store failed: \(reason)"
    }
  }

  /// SQLite's word for an error that came from it; every other error stays itself.
  static func judge(_ error: any Error) -> any Error {
    guard let error = error as? DatabaseError else { return error }
    switch error.resultCode {
    case .SQLITE_FULL, .SQLITE_IOERR, .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_NOMEM:
      return StoreError.full(error.message ?? error.resultCode.description)
    case .SQLITE_CORRUPT, .SQLITE_NOTADB: return StoreError.damaged(error.message ?? error.resultCode.description)
    default: return StoreError.failed(error.description)
    }
  }
}

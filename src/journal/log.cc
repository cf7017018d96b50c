#include "journal/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/faults.h"
#include "base/status.h"

namespace quire::journal {
namespace {

// A segment is made under this name and gets its own once it is synced.
constexpr std::string_view kDraftName = "segment.draft";

constexpr int64_t kLinkRecordBytes = RecordBytes(sizeof(SegmentLinkBytes));
constexpr int64_t kFirstOffset = kSegmentHeaderBytes + kLinkRecordBytes;
constexpr int64_t kPageBytes = 4096;
// Whoever is refused for want of room may come back after this.
constexpr int64_t kNoRoomRetryMs = 5000;

// Of one call: more would keep those at its head waiting.
constexpr size_t kRunRecordsMax = 64;
constexpr int64_t kRunBytesMax = 8 << 20;

constexpr size_t kWriteAgainBytes = 1 << 20;

int64_t SegmentBytesFor(int64_t record_bytes, int64_t usual_bytes) {
  const int64_t needed = kFirstOffset + record_bytes;
  return std::max(usual_bytes,
                  (needed + kPageBytes - 1) / kPageBytes * kPageBytes);
}

// What goes around a payload.
struct Envelope {
  RecordHeaderBytes header;
  RecordTail tail;
  uint64_t checksum = 0;
};

Envelope Seal(RecordHeader record, std::span<const Bytes> payload,
              uint64_t previous_checksum, uint64_t seed, int64_t offset) {
  Envelope envelope;
  envelope.tail = TailOf(record.payload_bytes, record.lsn);
  envelope.checksum = Checksum(payload, envelope.tail, previous_checksum);
  record.checksum = envelope.checksum;
  // The tail ends with a byte that is not zero, and has no sector of its own.
  record.zero_sectors = ZeroSectors(payload, offset + kRecordHeaderBytes);
  envelope.header = Encode(record, seed, offset);
  return envelope;
}

// Writes the first `size` bytes of a segment once more, as they are, and syncs
// them. A sync alone does not do after one that failed: the system may have
// given up pages that it still shows.
absl::Status WriteAgain(Directory& directory, uint64_t number, int64_t size) {
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                         directory.Open(SegmentName(number)));
  std::vector<std::byte> block(kWriteAgainBytes);
  for (int64_t offset = 0; offset < size;) {
    const auto wanted =
        static_cast<size_t>(std::min(size - offset, std::ssize(block)));
    QUIRE_ASSIGN_OR_RETURN(const size_t count,
                           file->Read(offset, std::span(block).first(wanted)));
    if (count == 0) {
      break;
    }
    const Bytes piece = std::span(block).first(count);
    QUIRE_RETURN_IF_ERROR(file->Write(offset, {&piece, 1}));
    offset += static_cast<int64_t>(count);
  }
  return file->Sync();
}

// A process that was killed leaves records that only the system's memory has.
// What comes behind them must not be on the disk before they are.
absl::Status SaveWhatWasRead(Directory& directory, const LogEnd& end) {
  for (size_t i = 0; i < end.kept.size(); ++i) {
    const bool is_last = i + 1 == end.kept.size();
    const uint64_t last_lsn =
        (is_last ? end.next_lsn : end.kept[i + 1].first_lsn) - 1;
    if (is_last || last_lsn > end.synced_lsn) {
      QUIRE_RETURN_IF_ERROR(WriteAgain(directory, end.kept[i].number,
                                       is_last ? end.end : end.kept[i].bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void LogEntry::Fill(uint8_t type, std::span<const Bytes> payload,
                    bool wants_sync) {
  QUIRE_CHECK(type != kLinkType, "links are the log's own");
  type_ = type;
  payload_ = payload;
  wants_sync_ = wants_sync;
  payload_bytes_ = 0;
  for (const Bytes& piece : payload) {
    payload_bytes_ += std::ssize(piece);
  }
}

Log::Log(Directory& directory, const Identity& identity, const LogEnd& end,
         const LogOptions& options)
    : directory_(directory),
      identity_(identity),
      options_(options),
      epoch_(end.epoch + 1),
      end_(end.end),
      checksum_(end.checksum),
      next_lsn_(end.next_lsn),
      tail_number_(end.next_number),
      kept_(end.kept.begin(), end.kept.end()),
      written_lsn_(end.next_lsn - 1),
      synced_lsn_(end.next_lsn - 1) {
  for (const KeptSegment& segment : kept_) {
    stats_.bytes += segment.bytes;
  }
}

absl::StatusOr<std::unique_ptr<Log>> Log::Start(Directory& directory,
                                                const Identity& identity,
                                                const LogEnd& end,
                                                const LogOptions& options) {
  // One after the other: no gap is left if the power goes.
  for (const std::string& name : end.stale) {
    QUIRE_RETURN_IF_ERROR(directory.Remove(name));
    QUIRE_RETURN_IF_ERROR(directory.Sync());
  }
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         directory.List());
  if (std::ranges::find(names, kDraftName) != names.end()) {
    QUIRE_RETURN_IF_ERROR(directory.Remove(kDraftName));
  }
  QUIRE_RETURN_IF_ERROR(SaveWhatWasRead(directory, end));
  std::unique_ptr<Log> log(new Log(directory, identity, end, options));
  QUIRE_ASSIGN_OR_RETURN(
      SegmentPointer first,
      log->MakeSegment(end.next_number, options.segment_bytes));
  QUIRE_RETURN_IF_ERROR(
      log->BeginSegment(first, end.next_lsn, end.next_lsn - 1));
  QUIRE_RETURN_IF_ERROR(first->file->Sync());
  {
    MutexLock lock(log->mutex_);
    log->tail_offset_ = kFirstOffset;
    log->tail_bytes_ = first->header.segment_bytes;
    log->stats_.bytes += first->header.segment_bytes;
    log->kept_.push_back({.number = end.next_number,
                          .epoch = log->epoch_,
                          .first_lsn = end.next_lsn,
                          .bytes = first->header.segment_bytes});
    log->unsynced_.clear();
  }
  log->writer_ = std::thread([&log = *log] { log.RunWriter(); });
  log->syncer_ = std::thread([&log = *log] { log.RunSyncer(); });
  log->preparer_ = std::thread([&log = *log] { log.RunPreparer(); });
  return log;
}

Log::~Log() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    appended_.NotifyAll();
    sync_due_.NotifyAll();
    prepare_.NotifyAll();
    changed_.NotifyAll();
  }
  for (std::thread* thread : {&writer_, &syncer_, &preparer_}) {
    if (thread->joinable()) {
      thread->join();
    }
  }
}

// --- Room ---

bool Log::FitsTail(int64_t record_bytes) const {
  return tail_offset_ + record_bytes <= tail_bytes_;
}

bool Log::FitsNext(int64_t record_bytes) const {
  return next_ != nullptr &&
         kFirstOffset + record_bytes <= next_->header.segment_bytes;
}

absl::StatusOr<bool> Log::HasRoomLocked(int64_t record_bytes) {
  if (!failure_.ok()) {
    return failure_;
  }
  if (FitsTail(record_bytes) || FitsNext(record_bytes)) {
    return unsynced_bytes() < options_.unsynced_bytes_max;
  }
  const int64_t needed = SegmentBytesFor(record_bytes, options_.segment_bytes);
  if (needed + options_.segment_bytes > options_.bytes_max) {
    return Error(
        Reason::kTooLarge,
        fmt::format("a record of {} bytes needs a file of its own in the log, "
                    "which may have {} bytes in all (--log-bytes-max). Push "
                    "fewer rows in one step, or allow a larger log",
                    record_bytes, options_.bytes_max));
  }
  next_bytes_wanted_ = std::max(next_bytes_wanted_, record_bytes);
  prepare_.NotifyOne();
  if (!no_room_.ok()) {
    return no_room_;
  }
  return false;
}

absl::StatusOr<bool> Log::HasRoom(int64_t payload_bytes) {
  const int64_t bytes = RecordBytes(payload_bytes);
  MutexLock lock(mutex_);
  const absl::StatusOr<bool> has_room = HasRoomLocked(bytes);
  const bool was_promised = std::exchange(
      next_is_promised_, has_room.ok() && *has_room && !FitsTail(bytes));
  if (was_promised && !next_is_promised_) {
    prepare_.NotifyOne();
  }
  return has_room;
}

absl::Status Log::WaitForRoom(int64_t payload_bytes) {
  MutexLock lock(mutex_);
  while (true) {
    QUIRE_ASSIGN_OR_RETURN(const bool has_room,
                           HasRoomLocked(RecordBytes(payload_bytes)));
    if (has_room) {
      return absl::OkStatus();
    }
    changed_.Wait(mutex_);
  }
}

absl::StatusOr<bool> Log::WaitForRoom(int64_t payload_bytes,
                                      Clock::time_point end) {
  MutexLock lock(mutex_);
  while (true) {
    QUIRE_ASSIGN_OR_RETURN(const bool has_room,
                           HasRoomLocked(RecordBytes(payload_bytes)));
    if (has_room || Clock::now() >= end) {
      return has_room;
    }
    changed_.WaitUntil(mutex_, end);
  }
}

void Log::UseNextSegment() {
  tail_number_ = next_->header.number;
  tail_offset_ = kFirstOffset;
  tail_bytes_ = next_->header.segment_bytes;
  kept_.push_back({.number = tail_number_,
                   .epoch = epoch_,
                   .first_lsn = next_lsn_,
                   .bytes = tail_bytes_});
  to_write_.push_back(std::move(next_));
  next_ = nullptr;
  next_is_promised_ = false;
  prepare_.NotifyOne();
}

uint64_t Log::Append(LogEntry& entry) {
  const int64_t bytes = RecordBytes(entry.payload_bytes_);
  MutexLock lock(mutex_);
  if (!FitsTail(bytes)) {
    QUIRE_CHECK(FitsNext(bytes), "room was asked for before an Append");
    UseNextSegment();
  }
  entry.lsn_ = next_lsn_++;
  entry.segment_number_ = tail_number_;
  entry.offset_ = tail_offset_;
  tail_offset_ += bytes;
  stats_.appended_bytes += bytes;
  queue_.push_back(&entry);
  appended_.NotifyOne();
  return entry.lsn_;
}

// --- The preparer ---

absl::StatusOr<Log::SegmentPointer> Log::MakeSegment(uint64_t number,
                                                     int64_t bytes) {
  auto segment = std::make_shared<Segment>();
  segment->header = {.identity = identity_,
                     .number = number,
                     .segment_bytes = bytes,
                     .seed = FreshSeed()};
  const SegmentHeaderBytes header = Encode(segment->header);
  const Bytes piece = header;
  absl::Status status = [&]() -> absl::Status {
    QUIRE_ASSIGN_OR_RETURN(segment->file, directory_.Create(kDraftName));
    QUIRE_RETURN_IF_ERROR(segment->file->Resize(bytes));
    QUIRE_RETURN_IF_ERROR(segment->file->Write(0, {&piece, 1}));
    QUIRE_RETURN_IF_ERROR(segment->file->Sync());
    QUIRE_KILL_POINT("log_segment_drafted");
    QUIRE_RETURN_IF_ERROR(directory_.Rename(kDraftName, SegmentName(number)));
    QUIRE_KILL_POINT("log_segment_renamed");
    return directory_.Sync();
  }();
  QUIRE_KILL_POINT("log_segment_prepared");
  if (!status.ok()) {
    // A draft that stays takes room, but does no harm.
    (void)directory_.Remove(kDraftName);
    return status;
  }
  return segment;
}

bool Log::IsAllowed(int64_t segment_bytes) const {
  return stats_.bytes + segment_bytes <= options_.bytes_max;
}

void Log::Prepare() {
  const uint64_t number = tail_number_ + 1;
  const int64_t bytes =
      SegmentBytesFor(next_bytes_wanted_, options_.segment_bytes);
  if (next_ != nullptr) {
    stats_.bytes -= next_->header.segment_bytes;
    next_ = nullptr;  // too small, and replaced
  }
  absl::StatusOr<SegmentPointer> made = SegmentPointer();
  if (!IsAllowed(bytes)) {
    made = Error(Reason::kLogFull,
                 fmt::format("the log has {} bytes of {} that it may have "
                             "(--log-bytes-max); nothing was changed. A "
                             "snapshot lets it shrink; try again",
                             stats_.bytes, options_.bytes_max));
  } else {
    mutex_.unlock();
    made = MakeSegment(number, bytes);
    mutex_.lock();
  }
  no_room_ = made.ok() ? absl::OkStatus()
                       : WithRetryAfterMs(made.status(), kNoRoomRetryMs);
  if (made.ok()) {
    next_ = *std::move(made);
    next_bytes_wanted_ = 0;
    stats_.bytes += bytes;
  }
  changed_.NotifyAll();
}

void Log::RunPreparer() {
  MutexLock lock(mutex_);
  while (!stopping_ && failure_.ok()) {
    if (next_ != nullptr &&
        (next_is_promised_ || FitsNext(next_bytes_wanted_))) {
      prepare_.Wait(mutex_);
      continue;
    }
    Prepare();
    const bool is_full = ReasonOf(no_room_) == Reason::kDiskFull ||
                         ReasonOf(no_room_) == Reason::kLogFull;
    if (!no_room_.ok() && !is_full) {
      const absl::Status cause = no_room_;
      mutex_.unlock();
      Fail(cause);
      mutex_.lock();
    }
    // Until then, or until a segment is removed.
    const auto retry = Clock::now() + options_.room_retry_interval;
    const int64_t bytes = stats_.bytes;
    while (is_full && !stopping_ && stats_.bytes == bytes &&
           prepare_.WaitUntil(mutex_, retry)) {
    }
  }
}

// --- The writer ---

void Log::RunWriter() {
  std::vector<LogEntry*> group;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) {
        appended_.Wait(mutex_);
      }
      if (queue_.empty()) {
        writer_is_done_ = true;
        sync_due_.NotifyAll();
        return;
      }
      group.clear();
      group.swap(queue_);
    }
    for (size_t begin = 0; begin < group.size();) {
      size_t end = begin;
      for (int64_t bytes = 0;
           end < group.size() && end - begin < kRunRecordsMax &&
           bytes < kRunBytesMax &&
           group[end]->segment_number_ == group[begin]->segment_number_;
           ++end) {
        bytes += RecordBytes(group[end]->payload_bytes_);
      }
      const std::span<LogEntry* const> run(&group[begin], end - begin);
      const Clock::time_point begun = Clock::now();
      FinishRun(run, WriteRun(run), begun);
      begin = end;
    }
  }
}

absl::Status Log::BeginSegment(SegmentPointer segment, uint64_t first_lsn,
                               uint64_t synced_lsn) {
  const SegmentLinkBytes link = Encode(SegmentLink{
      .epoch = epoch_,
      .first_lsn = first_lsn,
      .previous_end = end_,
      .previous_checksum = checksum_,
  });
  const Bytes payload = link;
  const Envelope envelope = Seal({.type = kLinkType,
                                  .payload_bytes = sizeof(link),
                                  .lsn = first_lsn - 1,
                                  .synced_lsn = synced_lsn},
                                 {&payload, 1}, segment->header.seed,
                                 segment->header.seed, kSegmentHeaderBytes);
  const std::array<Bytes, 3> pieces = {envelope.header, payload,
                                       envelope.tail.view()};
  current_ = std::move(segment);
  end_ = kFirstOffset;
  checksum_ = envelope.checksum;
  QUIRE_KILL_POINT("log_rotating");
  const absl::Status written =
      current_->file->Write(kSegmentHeaderBytes, pieces);
  QUIRE_KILL_POINT("log_rotated");
  return written;
}

absl::Status Log::WriteRun(std::span<LogEntry* const> run) {
  const LogEntry& first = *run.front();
  SegmentPointer segment;
  uint64_t synced_lsn = 0;
  {
    MutexLock lock(mutex_);
    QUIRE_RETURN_IF_ERROR(failure_);
    synced_lsn = synced_lsn_;
    if (first.segment_number_ != current_->header.number) {
      segment = std::move(to_write_.front());
      to_write_.pop_front();
    }
  }
  if (segment != nullptr) {
    QUIRE_RETURN_IF_ERROR(
        BeginSegment(std::move(segment), first.lsn_, synced_lsn));
  }
  QUIRE_CHECK(
      first.segment_number_ == current_->header.number && first.offset_ == end_,
      "records lie one behind the other");
  std::vector<Envelope> envelopes;
  envelopes.reserve(run.size());
  std::vector<Bytes> pieces;
  for (const LogEntry* entry : run) {
    const Envelope& envelope = envelopes.emplace_back(
        Seal({.type = entry->type_,
              .payload_bytes = entry->payload_bytes_,
              .lsn = entry->lsn_,
              .synced_lsn = synced_lsn},
             entry->payload_, checksum_, current_->header.seed, end_));
    pieces.push_back(envelope.header);
    pieces.insert(pieces.end(), entry->payload_.begin(), entry->payload_.end());
    pieces.push_back(envelope.tail.view());
    end_ += RecordBytes(entry->payload_bytes_);
    checksum_ = envelope.checksum;
  }
  QUIRE_KILL_POINT("log_writing");
  const absl::Status written = current_->file->Write(first.offset_, pieces);
  QUIRE_KILL_POINT("log_written");
  return written;
}

void Log::FinishRun(std::span<LogEntry* const> run, absl::Status status,
                    Clock::time_point begun) {
  if (!status.ok()) {
    Fail(status);
  }
  std::vector<LogEntry*> told;
  {
    MutexLock lock(mutex_);
    status = failure_;
    if (status.ok()) {
      written_lsn_.store(run.back()->lsn_, std::memory_order_release);
      ++stats_.writes;
      current_->written_end = end_;
      if (unsynced_.empty() || unsynced_.back() != current_) {
        unsynced_.push_back(current_);
      }
    }
    for (LogEntry* entry : run) {
      if (status.ok()) {
        written_bytes_ += RecordBytes(entry->payload_bytes_);
      }
      if (status.ok() && entry->wants_sync_ &&
          !QUIRE_FAULT("acknowledged_before_sync")) {
        awaiting_sync_.push_back(entry);
        sync_due_.NotifyOne();
      } else {
        told.push_back(entry);
      }
    }
    if (status.ok() && !unsynced_since_) {
      unsynced_since_ = begun;
      sync_due_.NotifyOne();
    }
    if (sync_wanted_lsn_ > synced_lsn_ ||
        unsynced_bytes() >= options_.unsynced_bytes_max / 2) {
      sync_due_.NotifyOne();
    }
  }
  for (LogEntry* entry : told) {
    entry->Reached(status);
  }
}

// --- The syncer ---

Log::Clock::time_point Log::SyncIsDue() const {
  if (written_lsn_ == synced_lsn_) {
    return Clock::time_point::max();
  }
  const bool is_wanted =
      !awaiting_sync_.empty() || sync_wanted_lsn_ > synced_lsn_ ||
      unsynced_bytes() >= options_.unsynced_bytes_max / 2 || writer_is_done_;
  return is_wanted ? Clock::time_point::min()
                   : *unsynced_since_ + options_.sync_interval;
}

void Log::RunSyncer() {
  MutexLock lock(mutex_);
  while (failure_.ok() && !(writer_is_done_ && written_lsn_ == synced_lsn_)) {
    const Clock::time_point due = SyncIsDue();
    if (due == Clock::time_point::max()) {
      sync_due_.Wait(mutex_);
    } else if (due > Clock::now()) {
      sync_due_.WaitUntil(mutex_, due);
    } else {
      SyncWritten();
    }
  }
}

void Log::SyncWritten() {
  const uint64_t lsn = written_lsn_;
  const int64_t bytes = written_bytes_;
  const Clock::time_point since = *std::exchange(unsynced_since_, std::nullopt);
  const std::vector<SegmentPointer> segments = std::exchange(unsynced_, {});
  std::vector<int64_t> ends;
  for (const SegmentPointer& segment : segments) {
    ends.push_back(segment->written_end);
  }
  mutex_.unlock();
  absl::Status status;
  QUIRE_KILL_POINT("log_syncing");
  for (const SegmentPointer& segment : segments) {
    status =
        QUIRE_FAULT("sync_skipped") ? absl::OkStatus() : segment->file->Sync();
    if (!status.ok()) {
      break;  // never again: see above
    }
  }
  if (!status.ok()) {
    Fail(status);
    mutex_.lock();
    return;
  }
  QUIRE_KILL_POINT("log_synced");
  std::vector<LogEntry*> told;
  mutex_.lock();
  synced_lsn_ = lsn;
  synced_bytes_ = bytes;
  ++stats_.syncs;
  stats_.longest_unsynced = std::max<std::chrono::nanoseconds>(
      stats_.longest_unsynced, Clock::now() - since);
  while (!awaiting_sync_.empty() && awaiting_sync_.front()->lsn_ <= lsn) {
    told.push_back(awaiting_sync_.front());
    awaiting_sync_.pop_front();
  }
  changed_.NotifyAll();
  mutex_.unlock();
  for (LogEntry* entry : told) {
    entry->Reached(absl::OkStatus());
  }
  for (size_t i = 0; i < segments.size(); ++i) {
    segments[i]->file->Forget(ends[i]);
  }
  mutex_.lock();
}

void Log::Fail(const absl::Status& cause) {
  std::deque<LogEntry*> told;
  absl::Status failure;
  bool is_first = false;
  {
    MutexLock lock(mutex_);
    is_first = failure_.ok();
    if (is_first) {
      const auto message = cause.message();
      failure_ = Error(
          Reason::kLogFailed,
          fmt::format("the log has failed: {}. Whether this change is kept is "
                      "not known; no more are taken, lookups go on. Mend the "
                      "disk, then start the server again",
                      std::string_view(message.data(), message.size())));
      stats_.has_failed = true;
    }
    failure = failure_;
    told.swap(awaiting_sync_);
    sync_due_.NotifyAll();
    prepare_.NotifyAll();
    changed_.NotifyAll();
  }
  for (LogEntry* entry : told) {
    entry->Reached(failure);
  }
  if (is_first && options_.on_failure) {
    options_.on_failure(failure);
  }
}

absl::Status Log::Sync() {
  MutexLock lock(mutex_);
  const uint64_t lsn = next_lsn_ - 1;
  sync_wanted_lsn_ = std::max(sync_wanted_lsn_, lsn);
  sync_due_.NotifyAll();
  while (failure_.ok() && synced_lsn_ < lsn) {
    changed_.Wait(mutex_);
  }
  return failure_;
}

// --- What is kept ---

absl::Status Log::RemoveBefore(uint64_t lsn) {
  while (true) {
    if (!leaving_) {
      MutexLock lock(mutex_);
      if (kept_.size() < 2 || kept_[1].first_lsn > lsn) {
        return absl::OkStatus();
      }
      leaving_ = kept_.front();
      leaving_is_removed_ = false;
      kept_.pop_front();
    }
    // One after the other, also if one could not be removed at first: no gap
    // is left if the power goes.
    QUIRE_KILL_POINT("log_truncating");
    if (!leaving_is_removed_) {
      QUIRE_RETURN_IF_ERROR(directory_.Remove(SegmentName(leaving_->number)));
      leaving_is_removed_ = true;
    }
    QUIRE_KILL_POINT("log_segment_removed");
    QUIRE_RETURN_IF_ERROR(directory_.Sync());
    MutexLock lock(mutex_);
    stats_.bytes -= leaving_->bytes;
    leaving_.reset();
    prepare_.NotifyOne();
  }
}

uint64_t Log::first_lsn() const {
  MutexLock lock(mutex_);
  return kept_.front().first_lsn;
}

std::vector<KeptSegment> Log::kept() const {
  MutexLock lock(mutex_);
  return {kept_.begin(), kept_.end()};
}

uint64_t Log::appended_lsn() const {
  MutexLock lock(mutex_);
  return next_lsn_ - 1;
}

uint64_t Log::written_lsn() const {
  return written_lsn_.load(std::memory_order_acquire);
}

uint64_t Log::synced_lsn() const {
  MutexLock lock(mutex_);
  return synced_lsn_;
}

Log::Stats Log::stats() const {
  MutexLock lock(mutex_);
  Stats stats = stats_;
  stats.unsynced_bytes = unsynced_bytes();
  stats.bytes_max = options_.bytes_max;
  stats.is_full =
      next_ == nullptr &&
      !IsAllowed(SegmentBytesFor(next_bytes_wanted_, options_.segment_bytes));
  return stats;
}

}  // namespace quire::journal

-- Minutes of transactions, in event time. The operator (seed_code/ingestion/operator/windows.py) gives the same rows.
--
-- main.py fills in what stands after a dollar sign, runs the statements up to the first INSERT one by one, and the
-- INSERTs as one statement set: one job, which reads its source once.

CREATE TEMPORARY TABLE transactions (
  `hash` STRING,
  `time` BIGINT,
  `fee` BIGINT,
  -- A time that is none must not stop the job: the watermark takes no null. Such a line is left out below.
  `tx_time` AS TO_TIMESTAMP_LTZ(COALESCE(`time`, 0), 0),
  WATERMARK FOR `tx_time` AS `tx_time` - INTERVAL '$lateness' HOUR TO SECOND
) WITH (
$transactions
);

CREATE TEMPORARY TABLE minutes (
  `tx_minute` STRING,
  `total_nb_trx_1min` BIGINT,
  `total_fee_1min` BIGINT,
  `avg_fee_1min` DOUBLE
) WITH (
$minutes
);

-- Onto the same stream: records of those that came too late.
CREATE TEMPORARY TABLE late (
  `late_hash` STRING,
  `late_time` BIGINT,
  `late_minute` STRING
) WITH (
$late
);

-- A transaction counts once in its minute: of several records of a hash the one with the smallest time, and of equal
-- times the first. A heartbeat has no hash: it opens its minute.
CREATE TEMPORARY VIEW counted AS
SELECT `window_start`, `window_end`, `hash`, `fee`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `window_start`, `window_end`, `hash` ORDER BY `tx_time`) AS `place`
  FROM TABLE(TUMBLE(TABLE transactions, DESCRIPTOR(`tx_time`), INTERVAL '1' MINUTE))
  WHERE `time` IS NOT NULL
)
WHERE `place` = 1;

-- The sum is a BIGINT; AVG of those would be one too. Of no fees at all the average is null: null divided by 0.
INSERT INTO minutes
SELECT
  DATE_FORMAT(`window_start`, 'yyyy-MM-dd''T''HH:mm:ss''Z'''),
  COUNT(`hash`),
  COALESCE(SUM(`fee`) FILTER (WHERE `hash` IS NOT NULL), 0),
  CAST(SUM(`fee`) FILTER (WHERE `hash` IS NOT NULL) AS DOUBLE) / COUNT(`fee`) FILTER (WHERE `hash` IS NOT NULL)
FROM counted
GROUP BY `window_start`, `window_end`;

-- Too late: the watermark had reached the minute's end before the record came.
INSERT INTO late
SELECT
  `hash`,
  `time`,
  DATE_FORMAT(FLOOR(`tx_time` TO MINUTE), 'yyyy-MM-dd''T''HH:mm:ss''Z''')
FROM transactions
WHERE `hash` IS NOT NULL
  AND `time` IS NOT NULL
  AND FLOOR(`tx_time` TO MINUTE) + INTERVAL '1' MINUTE <= CURRENT_WATERMARK(`tx_time`);

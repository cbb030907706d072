/** A share from 0 to 1 as whole percents. @param {number} share @returns {string} */
export const percent = (share) => `${Math.round(100 * share)}%`;

/** The same with one digit after the point. @param {number} share @returns {string} */
export const finePercent = (share) => `${(100 * share).toFixed(1)}%`;

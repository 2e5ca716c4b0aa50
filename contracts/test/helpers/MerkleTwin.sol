// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The naive twin of Rfc9162: RFC 9162, sections 2.1.1 and 2.1.3.1, word for word and recursive.
library MerkleTwin {
    /// @dev MTH(D[low:high]), over statement digests.
    function root(bytes32[] memory digests, uint256 low, uint256 high) internal pure returns (bytes32) {
        if (high - low == 1) return sha256(bytes.concat(hex"00", digests[low]));
        uint256 split = low + _largestPowerOfTwoBelow(high - low);
        return sha256(bytes.concat(hex"01", root(digests, low, split), root(digests, split, high)));
    }

    /// @dev PATH(index, D[low:high]), leaf side first.
    function path(bytes32[] memory digests, uint256 index, uint256 low, uint256 high)
        internal
        pure
        returns (bytes32[] memory)
    {
        if (high - low == 1) return new bytes32[](0);
        uint256 split = low + _largestPowerOfTwoBelow(high - low);
        if (low + index < split) return _append(path(digests, index, low, split), root(digests, split, high));
        return _append(path(digests, low + index - split, split, high), root(digests, low, split));
    }

    function _append(bytes32[] memory list, bytes32 item) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = item;
    }

    function _largestPowerOfTwoBelow(uint256 n) private pure returns (uint256 k) {
        k = 1;
        while (k * 2 < n) k *= 2;
    }
}
